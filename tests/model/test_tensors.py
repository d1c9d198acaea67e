import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.tensors import TensorInfo, shared_inputs, with_sizes

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "shape", "complete"),
    [
        (FLOAT, (1, 3, 8), True),
        (FLOAT, (), True),
        (FLOAT, ("N", 3), False),
        (FLOAT, (None, 3), False),
        (FLOAT, None, False),
        (None, (1, 3), False),
    ],
)
def test_is_complete(dtype, shape, complete):
    assert TensorInfo("x", dtype, shape).is_complete is complete


@pytest.mark.parametrize(("shape", "size"), [((2, 3, 4), 24), (("N", 3, None), 3), ((), 1), (None, 1), ((0, 5), 0)])
def test_size_counts_unknown_axes_as_one(shape, size):
    assert TensorInfo("x", FLOAT, shape).size == size


def test_size_does_not_overflow():
    assert TensorInfo("x", FLOAT, (1 << 20, 1 << 20)).size == 1 << 40


def test_with_sizes_keeps_the_batch_open_where_it_was():
    infos = (TensorInfo("x", FLOAT, ("N", 3, "H")), TensorInfo("y", FLOAT, (4, None)), TensorInfo("z", FLOAT, (1,)))
    sized = with_sizes(infos, {"x": (1, 3, 8), "y": (4, 6)})
    assert [info.shape for info in sized] == [("N", 3, 8), (4, 6), (1,)]
    assert with_sizes(infos, None) == infos


def test_with_sizes_where_the_rank_was_not_known():
    (info,) = with_sizes((TensorInfo("x", FLOAT, None),), {"x": (2, 3)})
    assert info.shape == (2, 3)


def test_shared_inputs_have_the_sizes_of_both():
    first = (TensorInfo("x", FLOAT, ("N", 3, "H")), TensorInfo("y", FLOAT, None), TensorInfo("z", FLOAT, (2,)))
    second = (TensorInfo("x", FLOAT, (4, None, 8)), TensorInfo("y", FLOAT, (1, 2)), TensorInfo("z", FLOAT, None))
    assert [info.shape for info in shared_inputs(first, second)] == [(4, 3, 8), (1, 2), (2,)]


@pytest.mark.parametrize(
    "other",
    [
        TensorInfo("x", FLOAT, ("N", 4)),
        TensorInfo("x", FLOAT, ("N", 3, 1)),
        TensorInfo("x", np.dtype(np.float64), ("N", 3)),
    ],
)
def test_inputs_that_do_not_match_are_an_error(other):
    with pytest.raises(ModelError, match=r"input 'x' is float32 \[N, 3\] in the original and float"):
        shared_inputs((TensorInfo("x", FLOAT, ("N", 3)),), (other,))
