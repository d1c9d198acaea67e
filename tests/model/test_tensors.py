import numpy as np
import pytest

from onnxshallow.model.tensors import TensorInfo, common_info, with_sizes

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


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (("N", 3), (4, 3), (4, 3)),
        ((4, 3), ("N", 3), (4, 3)),
        (("N", "W"), ("M", None), ("N", "W")),
        (None, (2, 3), (2, 3)),
        ((2, 3), None, (2, 3)),
    ],
)
def test_what_either_model_fixes_is_fixed(first, second, common):
    assert common_info(TensorInfo("x", FLOAT, first), TensorInfo("x", FLOAT, second)).shape == common


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((1, 4), FLOAT, "1 x 3 in the one and 1 x 4"),
        ((1, 3, 1), FLOAT, "1 x 3 in the one and 1 x 3 x 1"),
        ((1, 3), np.dtype(np.int64), "float32 in the one and int64"),
    ],
)
def test_what_fits_no_tensor_is_told(shape, dtype, words):
    with pytest.raises(ValueError, match=f"input 'x' is .*{words} in the other"):
        common_info(TensorInfo("x", FLOAT, (1, 3)), TensorInfo("x", dtype, shape))
