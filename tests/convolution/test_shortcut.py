from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, add_shortcut, compose, convolve, identity
from tests.convolution.convolution_cases import assert_close, convolutions, inputs, many, ranks, signed_input


def random_conv(*shape, **options):
    random = np.random.default_rng(sum(shape))
    return Convolution.of(random.normal(size=shape), random.normal(size=shape[0]), **options)


def assert_adds(conv, shortcut, spatial):
    x = signed_input(conv, spatial)
    total = add_shortcut(conv, shortcut)
    assert_close(convolve(total, x), convolve(conv, x) + convolve(shortcut, x))
    return total


@st.composite
def pairs(draw):
    """A convolution and a shortcut whose end pads were chosen so that the output sizes agree."""
    rank = draw(ranks)
    conv = draw(convolutions(rank, out_multiple=4))
    other = draw(convolutions(rank, in_channels=conv.in_channels, out_multiple=4))
    channels = conv.out_channels
    weight = np.resize(other.weight, (channels, *other.weight.shape[1:]))
    surplus = zip(conv.pads_begin, conv.pads_end, conv.extent, other.extent, other.pads_begin, strict=True)
    shortcut = Convolution(
        weight=weight,
        bias=np.resize(other.bias, channels),
        strides=conv.strides,
        dilations=other.dilations,
        pads_begin=other.pads_begin,
        pads_end=tuple(b + e - mine + theirs - begin for b, e, mine, theirs, begin in surplus),
        groups=other.groups,
    )
    return conv, shortcut


@many
@given(st.data())
def test_the_sum_is_exact_everywhere(data):
    conv, shortcut = data.draw(pairs())
    x = data.draw(inputs(conv))
    total = add_shortcut(conv, shortcut)
    assert_close(convolve(total, x), convolve(conv, x) + convolve(shortcut, x))
    mirrored = add_shortcut(shortcut, conv)
    assert np.array_equal(mirrored.weight, total.weight)
    assert (mirrored.pads_begin, mirrored.pads_end) == (total.pads_begin, total.pads_end)


def test_identity_goes_to_the_central_tap():
    conv = random_conv(4, 4, 3, 3, pads_begin=(1, 1))
    total = assert_adds(conv, identity(4, 2), (6, 5))
    assert np.array_equal(total.weight[:, :, 1, 1], conv.weight[:, :, 1, 1] + np.eye(4))
    assert total.kernel_shape == (3, 3)


def test_downsampling_block():
    body = compose(
        random_conv(4, 2, 3, 3, strides=(2, 2), pads_begin=(1, 1)), random_conv(6, 4, 3, 3, pads_begin=(1, 1))
    )
    total = assert_adds(body, random_conv(6, 2, 1, 1, strides=(2, 2)), (9, 8))
    assert (total.kernel_shape, total.pads_begin, total.pads_end) == ((7, 7), (3, 3), (3, 3))


def test_average_pooling():
    pooling = Convolution.of(np.full((3, 1, 2, 2), 0.25), strides=(2, 2), groups=3)
    assert_adds(random_conv(3, 3, 4, 4, strides=(2, 2), pads_begin=(1, 1)), pooling, (8, 7))


def test_depthwise_and_identity_stay_depthwise():
    conv = random_conv(4, 1, 3, 3, pads_begin=(1, 1), groups=4)
    assert assert_adds(conv, identity(4, 2), (5, 5)).groups == 4


def test_a_dilated_kernel_keeps_its_dilation():
    conv = random_conv(2, 2, 3, dilations=(2,), pads_begin=(2,))
    total = assert_adds(conv, identity(2, 1), (7,))
    assert (total.kernel_shape, total.dilations) == ((3,), (2,))


def test_two_dilated_taps_keep_their_dilation_beside_the_pixel_of_the_first():
    conv = random_conv(2, 2, 2, dilations=(2,), pads_begin=(0,), pads_end=(2,))
    total = assert_adds(conv, identity(2, 1), (7,))
    assert (total.kernel_shape, total.dilations) == ((2,), (2,))


def test_a_pixel_between_dilated_taps_refines_the_grid():
    conv = random_conv(2, 2, 2, dilations=(2,), pads_begin=(1,))
    total = assert_adds(conv, identity(2, 1), (7,))
    assert (total.kernel_shape, total.dilations) == ((3,), (1,))


def test_a_linear_layer_takes_a_shortcut():
    assert_adds(random_conv(3, 3), identity(3, 0), ())


PLAIN = random_conv(4, 4, 3, 3, pads_begin=(1, 1))


@pytest.mark.parametrize(
    ("conv", "shortcut", "message"),
    [
        (PLAIN, identity(4, 1), "2 spatial axes"),
        (PLAIN, identity(3, 2), "in_channels"),
        (PLAIN, random_conv(3, 4, 1, 1), "out_channels"),
        (PLAIN, random_conv(4, 4, 1, 1, strides=(2, 2)), "strides"),
        (
            replace(PLAIN, pads_end=(0, 1)),
            identity(4, 2),
            r"is \(2, 1\) for the convolution and \(1, 1\) for its shortcut, so their output sizes differ for some",
        ),
    ],
)
def test_what_cannot_be_added_is_refused(conv, shortcut, message):
    with pytest.raises(ValueError, match=message):
        add_shortcut(conv, shortcut)
