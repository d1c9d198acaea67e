import logging

import numpy as np
import pytest

from onnxshallow.data.arrays import samples_from_arrays
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import DataError, UsageError
from onnxshallow.model.tensors import TensorInfo

IMAGE = TensorInfo("input", np.dtype(np.float32), ("N", 3, 8, 8))
VECTOR = TensorInfo("features", np.dtype(np.float32), (1, 5))
TOKENS = TensorInfo("tokens", np.dtype(np.int64), ("N", "length"))
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
FLOATS = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
VECTORS = np.ones((4, 5), np.float32)


def make(inputs, preprocessing=None, **arrays):
    return samples_from_arrays(arrays, inputs, preprocessing or Preprocessing(), "d.npz")


@pytest.mark.parametrize("name", ["x", "images", "input", "anything"])
def test_pixels_are_taken_whatever_their_name(name):
    samples = make([IMAGE], y=np.arange(4), **{name: PIXELS})
    np.testing.assert_allclose(
        samples.batch([1])["input"][0], PIXELS[1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    )
    assert samples.labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["input", "anything"])
def test_a_single_float_array_is_taken_as_it_is(name):
    np.testing.assert_array_equal(make([IMAGE], **{name: FLOATS}).batch(range(4))["input"], FLOATS)


BYTES = TensorInfo("input", np.dtype(np.uint8), ("N", 3, 8, 8))


def test_a_network_that_takes_bytes_gets_them_as_they_are(caplog):
    with caplog.at_level(logging.WARNING):
        samples = make([BYTES], x=PIXELS)
    np.testing.assert_array_equal(samples.batch(range(4))["input"], PIXELS.transpose(0, 3, 1, 2))
    assert "divided by 255" not in caplog.text


@pytest.mark.parametrize("options", [{"mean": (0.5,)}, {"std": (0.2,)}, {"scale": 1.0}])
def test_options_that_would_change_bytes_are_refused(options):
    with pytest.raises(UsageError, match=r"normalizes them by itself.*leave the options out"):
        make([BYTES], Preprocessing(**options), x=PIXELS)


def test_the_inputs_own_name_goes_first():
    samples = make([IMAGE], input=FLOATS, x=PIXELS)
    np.testing.assert_array_equal(samples.batch(range(4))["input"], FLOATS)


def test_several_inputs_take_arrays_by_name_and_pixels_by_type():
    batch = make([IMAGE, VECTOR, TOKENS], x=PIXELS, features=VECTORS, tokens=np.ones((4, 7), np.int32)).batch([0, 1])
    assert {name: array.shape for name, array in batch.items()} == {
        "input": (2, 3, 8, 8),
        "features": (2, 5),
        "tokens": (2, 7),
    }
    assert batch["tokens"].dtype == np.int64


def test_an_input_named_like_labels_is_an_input():
    samples = make([TensorInfo("y", np.dtype(np.float32), ("N", 5))], y=VECTORS, labels=np.arange(4))
    assert samples.labels.tolist() == [0, 1, 2, 3]


def test_a_sample_may_have_several_labels():
    samples = make([VECTOR], x=VECTORS, labels=np.arange(12).reshape(4, 3))
    assert samples.labels.shape == (4, 3)
    assert samples.take([2, 0]).labels.tolist() == [[6, 7, 8], [0, 1, 2]]


def test_of_two_arrays_of_labels_one_is_told_not_to_be_used(caplog):
    with caplog.at_level(logging.WARNING):
        samples = make([VECTOR], x=VECTORS, y=np.zeros(4, int), labels=np.arange(4))
    assert samples.labels.tolist() == [0, 1, 2, 3]
    assert "d.npz: 'y' not used; labels are looked for under 'labels', else 'y'" in caplog.text


def test_labels_in_a_column_are_flattened():
    assert make([VECTOR], x=VECTORS, labels=np.arange(4)[:, np.newaxis]).labels.shape == (4,)


def test_an_input_of_unknown_type_and_shape_takes_anything():
    batch = make([TensorInfo("a", None, None)], a=np.ones((2, 3), np.float64)).batch([0])
    assert (batch["a"].dtype, batch["a"].shape) == (np.float64, (1, 3))


def test_preprocessing_of_floats_is_ignored_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        samples = make([IMAGE], Preprocessing(mean=(0.5,)), x=FLOATS)
    np.testing.assert_array_equal(samples.batch(range(4))["input"], FLOATS)
    assert "d.npz: array 'x' is float, so it counts as already preprocessed" in caplog.text


@pytest.mark.parametrize(
    ("inputs", "arrays", "message"),
    [
        ([IMAGE], {}, "no array could be found for input 'input'; it holds none"),
        ([IMAGE], {"y": np.arange(4)}, "for input 'input'; it holds 'y'. Name each array after the input"),
        ([IMAGE], {"a": FLOATS, "b": FLOATS}, "for input 'input'; it holds 'a', 'b'"),
        ([IMAGE, VECTOR], {"input": FLOATS, "b": VECTORS}, "for input 'features'; it holds 'input', 'b'"),
        ([IMAGE, VECTOR], {"a": FLOATS}, "for input 'input', 'features'; it holds 'a'"),
        ([IMAGE], {"x": np.float32(1)}, "d.npz: array 'x' is a single number"),
        ([IMAGE], {"x": FLOATS[:0]}, "d.npz: array 'x' holds no samples"),
        ([IMAGE], {"x": PIXELS[:0]}, "d.npz: array 'x' holds no samples"),
        (
            [IMAGE],
            {"x": FLOATS[:, :, :7]},
            r"d.npz: array 'x' has shape \(4, 3, 7, 8\), but input 'input' wants \(batch, 3, 8, 8\)",
        ),
        ([IMAGE], {"x": FLOATS[0]}, r"d.npz: array 'x' has shape \(3, 8, 8\), but"),
        (
            [IMAGE],
            {"x": FLOATS.astype(np.int32)},
            "array 'x' is int32, but input 'input' takes float32; give floats",
        ),
        ([TOKENS], {"x": VECTORS}, "array 'x' is float32, but input 'tokens' takes int64; convert it"),
        ([VECTOR], {"x": np.ones((4, 5), "U3")}, "array 'x' is <U3"),
        ([IMAGE], {"x": FLOATS * np.float32("nan")}, "array 'x' holds NaN or infinite values"),
        ([VECTOR], {"x": VECTORS * np.float32("inf")}, "array 'x' holds NaN or infinite values"),
        ([VECTOR], {"x": VECTORS, "y": np.arange(3)}, "3 labels for 4 samples"),
        (
            [VECTOR],
            {"x": VECTORS, "y": np.ones(4)},
            "array 'y' is float64; labels must be integer class indices",
        ),
        (
            [VECTOR],
            {"x": VECTORS, "y": np.ones((4, 2, 2), int)},
            r"'y' has shape \(4, 2, 2\); labels must be one class",
        ),
        ([IMAGE, VECTOR], {"input": FLOATS, "features": VECTORS[:3]}, "different numbers of samples"),
    ],
)
def test_what_does_not_fit_is_named(inputs, arrays, message):
    with pytest.raises(DataError, match=message):
        make(inputs, **arrays)
