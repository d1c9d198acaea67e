import numpy as np
import pytest

from onnxshallow.data.batches import as_array, as_batch, is_array
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

IMAGE = TensorInfo("x", np.dtype(np.float32), ("N", 3, 4, 4))
OTHER = TensorInfo("z", np.dtype(np.float32), ("N", 5))
SAMPLES, LABELS = np.ones((2, 3, 4, 4), np.float32), np.array([0, 1])


class OnAnotherDevice:
    """Like a tensor of torch that needs a gradient and lies on a GPU."""

    def __init__(self, values, steps=()):
        self.values, self.steps = values, steps

    def detach(self):
        return OnAnotherDevice(self.values, (*self.steps, "detach"))

    def cpu(self):
        return OnAnotherDevice(self.values, (*self.steps, "cpu"))

    def __array__(self, dtype=None, copy=None):
        assert self.steps == ("detach", "cpu")
        return np.asarray(self.values, dtype)


def shapes(item, *inputs):
    return {name: array.shape for name, array in as_batch(item, inputs or (IMAGE,), "reader.py").items()}


def test_arrays_and_tensors_are_arrays_and_lists_are_none():
    assert is_array(SAMPLES)
    assert is_array(OnAnotherDevice([1]))
    assert not is_array([1.0])


def test_a_tensor_is_brought_to_the_processor():
    np.testing.assert_array_equal(as_array(OnAnotherDevice([1, 2])), [1, 2])
    assert shapes(OnAnotherDevice(SAMPLES)) == {"x": (2, 3, 4, 4)}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"x": SAMPLES}, {"x": (2, 3, 4, 4)}),
        ({"x": SAMPLES, "y": LABELS}, {"x": (2, 3, 4, 4), "y": (2,)}),
        (SAMPLES, {"x": (2, 3, 4, 4)}),
        ([SAMPLES], {"x": (2, 3, 4, 4)}),
        ((SAMPLES, LABELS), {"x": (2, 3, 4, 4), "labels": (2,)}),
        ([SAMPLES, LABELS], {"x": (2, 3, 4, 4), "labels": (2,)}),
    ],
    ids=["dict", "dict with labels", "array", "list of one", "pair", "list of two"],
)
def test_a_batch_may_have_several_forms(item, expected):
    assert shapes(item) == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (SAMPLES[0], {"x": (1, 3, 4, 4)}),
        ({"x": SAMPLES[0]}, {"x": (1, 3, 4, 4)}),
        ((SAMPLES[0], np.array(3)), {"x": (1, 3, 4, 4), "labels": (1,)}),
        ((SAMPLES[0].astype(np.uint8), np.array(3)), {"x": (1, 3, 4, 4), "labels": (1,)}),
        (SAMPLES[:, 0].astype(np.uint8), {"x": (2, 4, 4)}),
    ],
    ids=["array", "dict", "with a label", "pixels with a label", "grey pixels are a batch"],
)
def test_one_sample_becomes_a_batch_of_one(item, expected):
    assert shapes(item) == expected


def test_a_buffer_that_is_filled_again_does_not_change_a_batch():
    buffer = SAMPLES.copy()
    batch = as_batch(buffer, [IMAGE], "reader.py")
    buffer[:] = 7
    np.testing.assert_array_equal(batch["x"], SAMPLES)


@pytest.mark.parametrize("item", [{}, [], "text", 3, [SAMPLES] * 3, [[1.0]], (LABELS.tolist(), LABELS)])
def test_what_is_no_batch_is_refused(item):
    kind = type(item).__name__
    with pytest.raises(DataError, match=rf"reader\.py: gave {kind}; each batch must be a dict .* The inputs are 'x'"):
        as_batch(item, [IMAGE], "reader.py")


def test_an_array_alone_is_no_batch_of_a_network_with_two_inputs():
    assert shapes({"x": SAMPLES, "z": np.ones((2, 5))}, IMAGE, OTHER) == {"x": (2, 3, 4, 4), "z": (2, 5)}
    for item in (SAMPLES, (SAMPLES, np.ones((2, 5)))):
        with pytest.raises(DataError, match="The inputs are 'x', 'z'"):
            as_batch(item, [IMAGE, OTHER], "reader.py")


def test_single_values_and_batches_of_different_sizes_are_refused():
    with pytest.raises(DataError, match=r"'k' is a single value; arrays need a batch axis first"):
        as_batch({"x": SAMPLES, "k": np.array(1.0)}, [IMAGE], "reader.py")
    with pytest.raises(DataError, match=r"different numbers of samples \{'x': 2, 'labels': 3\}"):
        as_batch((SAMPLES, np.zeros(3)), [IMAGE], "reader.py")
