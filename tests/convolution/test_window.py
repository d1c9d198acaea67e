import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, compose, convolve, output_size, resize_kernel
from tests.convolution.convolution_cases import assert_close, convolutions, inputs, many, ranks


def kernel_1d(taps, begin=0, end=None, **options):
    return Convolution.of(
        np.arange(1.0, taps + 1).reshape(1, 1, -1),
        pads_begin=(begin,),
        pads_end=(begin if end is None else end,),
        **options,
    )


@many
@given(st.data())
def test_growing_is_exact(data):
    conv = data.draw(ranks.flatmap(convolutions))
    x = data.draw(inputs(conv))
    shape = tuple(size + data.draw(st.integers(0, 3)) for size in conv.kernel_shape)
    grown = resize_kernel(conv, shape)
    assert grown.kernel_shape == shape
    assert_close(convolve(grown, x), convolve(conv, x))


@many
@given(st.data())
def test_cropping_drops_taps_and_moves_none(data):
    conv = data.draw(ranks.flatmap(convolutions))
    x = data.draw(inputs(conv))
    cropped = resize_kernel(conv, tuple(data.draw(st.integers(1, 4)) for _ in conv.kernel_shape))
    kept = resize_kernel(cropped, tuple(size + 8 for size in cropped.kernel_shape))
    assert output_size(cropped, x.shape[2:]) == output_size(conv, x.shape[2:])
    for tap in np.ndindex(conv.kernel_shape):
        axes = zip(tap, conv.dilations, conv.pads_begin, kept.pads_begin, strict=True)
        position = [t + (grown - begin) // dilation for t, dilation, begin, grown in axes]
        weight = kept.weight[(..., *position)]
        assert np.array_equal(weight, conv.weight[(..., *tap)]) or not weight.any()


@pytest.mark.parametrize("order", [1, -1])
def test_the_composite_of_a_strided_block_cropped_to_its_first_kernel(order):
    weight = np.ones((1, 1, 3, 3))
    convs = [
        Convolution.of(weight, strides=(2, 2), pads_begin=(1, 1)),
        Convolution.of(weight, pads_begin=(1, 1)),
    ][::order]
    cropped = resize_kernel(compose(*convs), (3, 3))
    assert cropped.strides == (2, 2)
    assert cropped.pads_begin == cropped.pads_end == (1, 1)


@pytest.mark.parametrize(
    ("conv", "taps", "weight", "pads"),
    [
        (kernel_1d(7, 3), 3, [3, 4, 5], (1, 1)),
        (kernel_1d(5, 1), 1, [3], (-1, -1)),
        (kernel_1d(4, 1), 3, [1, 2, 3], (1, 0)),
        (kernel_1d(4, 1, 2), 3, [1, 2, 3], (1, 1)),
        (kernel_1d(4, 2, 1), 3, [2, 3, 4], (1, 1)),
        (kernel_1d(2, 0, 1), 3, [0, 1, 2], (1, 1)),
        (kernel_1d(2, 1, 0), 3, [1, 2, 0], (1, 1)),
        (kernel_1d(2, 0, 0), 3, [0, 1, 2], (1, 0)),
        (kernel_1d(1, 0), 3, [0, 1, 0], (1, 1)),
        (kernel_1d(3, 2, dilations=(2,)), 5, [0, 1, 2, 3, 0], (4, 4)),
        (kernel_1d(5, 4, dilations=(2,)), 3, [2, 3, 4], (2, 2)),
    ],
)
def test_known_windows(conv, taps, weight, pads):
    resized = resize_kernel(conv, (taps,))
    assert resized.weight.ravel().tolist() == weight
    assert (*resized.pads_begin, *resized.pads_end) == pads


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 3, 3)])
def test_impossible_windows_are_refused(shape):
    with pytest.raises(ValueError, match="cannot be had"):
        resize_kernel(Convolution.of(np.ones((1, 1, 3, 3))), shape)
