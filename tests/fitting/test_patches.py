import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, convolve, output_size
from onnxshallow.fitting.patches import gather_outputs, gather_patches, sample_positions, weight_columns
from tests.convolution.convolution_cases import assert_close, convolutions, inputs, many


def looped_patches(x, conv):
    """The definition, pixel by pixel: zero where a tap lies outside the input."""
    count, size = len(x), output_size(conv, x.shape[2:])
    per_group = conv.in_channels // conv.groups
    rows = np.zeros((conv.groups, count, *size, per_group, *conv.kernel_shape))
    axes = (conv.strides, conv.pads_begin, conv.dilations, x.shape[2:])
    for out in itertools.product(*map(range, size)):
        for tap in itertools.product(*map(range, conv.kernel_shape)):
            at = [o * s - p + t * d for o, t, s, p, d in zip(out, tap, *axes[:3], strict=True)]
            if all(0 <= a < n for a, n in zip(at, axes[3], strict=True)):
                pixel = x[(slice(None), slice(None), *at)].reshape(count, conv.groups, per_group)
                rows[(slice(None), slice(None), *out, slice(None), *tap)] = pixel.swapaxes(0, 1)
    taps_first = np.moveaxis(rows, 2 + len(size), -1)
    return taps_first.reshape(conv.groups, count * int(np.prod(size)), -1)


def random_conv(*shape, **options):
    return Convolution.of(np.random.default_rng(0).normal(size=shape), **options)


@pytest.mark.parametrize(
    ("conv", "spatial"),
    [
        pytest.param(random_conv(2, 3, 3, 3, strides=(2, 3)), (9, 11), id="stride"),
        pytest.param(random_conv(2, 3, 3, 2, dilations=(2, 3)), (9, 8), id="dilation"),
        pytest.param(random_conv(2, 3, 3, 3, pads_begin=(2, 0), pads_end=(1, 3)), (5, 6), id="asymmetric pads"),
        pytest.param(random_conv(2, 3, 3, 3, pads_begin=(-1, 2), pads_end=(1, -2)), (8, 9), id="negative pads"),
        pytest.param(random_conv(6, 2, 3, 3, groups=3, pads_begin=(1, 1)), (5, 4), id="groups"),
        pytest.param(random_conv(4, 1, 3, 3, groups=4, strides=(2, 2)), (7, 7), id="depthwise"),
        pytest.param(random_conv(2, 3, 5, pads_begin=(2,), strides=(2,)), (13,), id="one axis"),
        pytest.param(random_conv(2, 2, 2, 2, 2, pads_begin=(1, 0, 1)), (3, 4, 2), id="three axes"),
        pytest.param(random_conv(5, 4), (), id="no axis"),
        pytest.param(random_conv(6, 2, groups=2), (), id="no axis, groups"),
    ],
)
def test_patches_are_what_a_loop_over_pixels_and_taps_reads(conv, spatial):
    x = np.random.default_rng(1).normal(size=(3, conv.in_channels, *spatial))
    assert_close(gather_patches(x, conv, None), looped_patches(x, conv), 1e-6)


@many
@given(st.data())
def test_patches_times_weights_are_the_convolution(data):
    conv = data.draw(convolutions(data.draw(st.integers(0, 2))))
    x = data.draw(inputs(conv))
    patches = gather_patches(x, conv, None)
    weight = weight_columns(conv)
    made = patches @ weight.transpose(0, 2, 1) + conv.bias.reshape(conv.groups, 1, -1)
    assert_close(made, gather_outputs(convolve(conv, x), conv.groups, None).astype(np.float64), 1e-5)


def test_positions_select_the_same_rows_of_patches_and_outputs():
    conv = random_conv(4, 2, 3, 3, groups=2, pads_begin=(1, 1), strides=(2, 1))
    x = np.random.default_rng(1).normal(size=(3, 4, 6, 5))
    y = convolve(conv, x)
    positions = np.array([0, 4, 7, 14])
    for some, everything in (
        (gather_patches(x, conv, positions), gather_patches(x, conv, None)),
        (gather_outputs(y, 2, positions), gather_outputs(y, 2, None)),
    ):
        rows = everything.reshape(2, 3, 15, -1)[:, :, positions]
        np.testing.assert_array_equal(some, rows.reshape(2, 12, -1))


def test_a_share_of_one_means_all_positions():
    assert sample_positions((4, 5), 1.0, np.random.default_rng(0)) is None


def test_sampled_positions_are_distinct_sorted_and_as_many_as_wanted():
    positions = sample_positions((10, 10), 0.25, np.random.default_rng(0))
    assert positions is not None
    assert len(positions) == 25
    assert list(positions) == sorted(set(positions))
    assert 0 <= positions[0] <= positions[-1] < 100


def test_at_least_one_position_is_sampled():
    positions = sample_positions((4, 4), 1e-9, np.random.default_rng(0))
    assert positions is not None
    assert len(positions) == 1


def test_the_same_seed_samples_the_same_positions():
    first, second = (sample_positions((9, 9), 0.3, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_patches_are_float32_whatever_the_input():
    conv = random_conv(2, 3, 3, 3)
    x = np.ones((1, 3, 4, 4), dtype=np.float16)
    assert gather_patches(x, conv, None).dtype == np.float32
