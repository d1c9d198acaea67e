import numpy as np
import pytest

from onnxshallow.convolution import Convolution, convolve, identity
from tests.convolution.convolution_cases import assert_close, signed_input


def test_defaults_are_those_of_onnx():
    conv = Convolution.of(np.ones((4, 2, 3, 5)), pads_begin=[1, 2], groups=2)
    assert conv.strides == conv.dilations == (1, 1)
    assert conv.pads_end == conv.pads_begin == (1, 2)
    assert conv.bias.tolist() == [0.0] * 4


def test_arrays_become_float64_and_sequences_tuples():
    arrays = (np.ones((2, 1, 3), np.float32), np.ones(2, np.float16))
    made = Convolution.of(*arrays, strides=np.array([2]), groups=np.int64(2))
    plain = Convolution(*arrays, np.array([2]), [1], np.array([0]), [0], np.int64(2))
    for conv in (made, plain, Convolution.of([[[1]], [[2]]], [1, 2], strides=[2], groups=2)):
        assert conv.weight.dtype == conv.bias.dtype == np.float64
        assert conv.strides == (2,)
        assert [type(value) for value in (*conv.strides, *conv.pads_begin, conv.groups)] == [int] * 3


def test_properties():
    conv = Convolution.of(np.ones((6, 2, 3, 1)), dilations=(2, 7), groups=3)
    assert (conv.rank, conv.out_channels, conv.in_channels) == (2, 6, 6)
    assert conv.kernel_shape == (3, 1)
    assert conv.extent == (5, 1)
    assert not conv.is_pointwise


def test_a_linear_layer_has_rank_zero_and_is_pointwise():
    conv = Convolution.of(np.ones((3, 5)))
    assert (conv.rank, conv.kernel_shape, conv.extent) == (0, (), ())
    assert conv.is_pointwise


@pytest.mark.parametrize("pads", [(1, 0), (0, -1)])
def test_a_padded_or_cropped_kernel_of_one_tap_is_not_pointwise(pads):
    conv = Convolution.of(np.ones((1, 1, 1)), pads_begin=pads[:1], pads_end=pads[1:])
    assert not conv.is_pointwise


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_identity(rank):
    conv = identity(3, rank)
    x = signed_input(conv, (4, 3, 2)[:rank])
    assert conv.is_pointwise
    assert_close(convolve(conv, x), x)


@pytest.mark.parametrize(("channels", "rank"), [(0, 2), (3, -1)])
def test_there_is_no_identity_on_nothing(channels, rank):
    with pytest.raises(ValueError, match="no identity"):
        identity(channels, rank)


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        ((3,), {}, "no kernel"),
        ((3, 0), {}, "no kernel"),
        ((3, 1, 3), {"bias": np.zeros(2)}, r"bias has shape \(2,\), but the kernel writes 3 channels"),
        ((3, 1, 3), {"groups": 2}, "3 output channels cannot be split into 2 groups"),
        ((3, 1, 3), {"groups": 0}, "split into 0 groups"),
        ((3, 1, 3), {"strides": (1, 1)}, "strides is"),
        ((3, 1, 3), {"pads_end": ()}, "pads_end is"),
        ((3, 1, 3), {"strides": (0,)}, "at least 1"),
        ((3, 1, 3), {"dilations": (0,)}, "at least 1"),
    ],
)
def test_contradictions_are_refused(weight, options, message):
    with pytest.raises(ValueError, match=message):
        Convolution.of(np.ones(weight), **options)
