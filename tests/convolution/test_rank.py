import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, compose, convolve, output_size, project, split
from tests.convolution.convolution_cases import assert_close, convolutions, few, inputs, many, seeds


@st.composite
def ungrouped(draw):
    """Draw a convolution of one group over none to three axes, with up to eight outputs."""
    shape = draw(convolutions(draw(st.integers(0, 3)), in_channels=draw(st.integers(1, 4))))
    random = np.random.default_rng(draw(seeds))
    outputs = draw(st.integers(1, 8))
    weight = random.normal(size=(outputs, shape.in_channels, *shape.kernel_shape))
    return replace(shape, weight=weight, bias=random.normal(size=outputs), groups=1)


def matrix(conv):
    return conv.weight.reshape(conv.out_channels, -1)


def full_rank(conv):
    return min(matrix(conv).shape)


def drawn_rank(data, conv):
    return data.draw(st.integers(1, full_rank(conv)))


def conv_2d(outputs=6, channels=3, seed=0, **options):
    random = np.random.default_rng(seed)
    return Convolution.of(random.normal(size=(outputs, channels, 3, 3)), random.normal(size=outputs), **options)


def orthonormal(size, rank, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, rank)))[0]


# What the two parts compute.


def macs(conv, spatial):
    """Multiply-adds for one sample: every output reads its group's channels through every tap."""
    return conv.weight.size * int(np.prod(output_size(conv, spatial)))


@many
@given(st.data())
def test_a_split_of_full_rank_changes_nothing_also_at_the_border(data):
    conv = data.draw(ungrouped())
    x = data.draw(inputs(conv))
    narrow, wide = split(conv, full_rank(conv))
    assert_close(convolve(wide, convolve(narrow, x)), convolve(conv, x))


@many
@given(st.data())
def test_the_first_part_has_the_geometry_and_the_second_is_pointwise(data):
    conv = data.draw(ungrouped())
    rank = drawn_rank(data, conv)
    narrow, wide = split(conv, rank)
    for name in ("kernel_shape", "strides", "dilations", "pads_begin", "pads_end", "in_channels", "groups"):
        assert getattr(narrow, name) == getattr(conv, name)
    assert narrow.out_channels == wide.in_channels == rank
    assert wide.out_channels == conv.out_channels
    assert wide.is_pointwise
    assert wide.rank == conv.rank
    assert set(wide.strides + wide.dilations) <= {1}
    assert wide.groups == 1


@few
@given(st.data())
def test_the_parts_equal_their_composite_everywhere(data):
    conv = data.draw(ungrouped())
    x = data.draw(inputs(conv))
    narrow, wide = split(conv, drawn_rank(data, conv))
    assert_close(convolve(wide, convolve(narrow, x)), convolve(compose(narrow, wide), x))


@few
@given(st.data())
def test_the_multiply_adds_are_those_of_the_formula(data):
    conv = data.draw(ungrouped())
    spatial = data.draw(inputs(conv)).shape[2:]
    rank = drawn_rank(data, conv)
    narrow, wide = split(conv, rank)
    pixels = math.prod(output_size(conv, spatial))
    outputs, unknowns = matrix(conv).shape
    assert macs(narrow, spatial) + macs(wide, output_size(narrow, spatial)) == pixels * rank * (unknowns + outputs)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_an_input_of_zeros_still_makes_the_bias(rank):
    conv = conv_2d(pads_begin=(1, 1))
    narrow, wide = split(conv, rank)
    made = convolve(wide, convolve(narrow, np.zeros((1, 3, 5, 5))))
    assert_close(made, np.broadcast_to(conv.bias.reshape(1, -1, 1, 1), made.shape).copy())


def test_the_convolution_that_is_split_stays_as_it_is():
    conv = conv_2d()
    weight, bias = conv.weight.copy(), conv.bias.copy()
    split(conv, 2)
    np.testing.assert_array_equal(conv.weight, weight)
    np.testing.assert_array_equal(conv.bias, bias)


# How close they are to the convolution (Eckart and Young, 1936).


@many
@given(st.data())
def test_the_error_is_that_of_the_singular_values_left_out(data):
    conv = data.draw(ungrouped())
    rank = drawn_rank(data, conv)
    values = np.linalg.svd(matrix(conv), compute_uv=False)
    left = matrix(conv) - matrix(compose(*split(conv, rank)))
    assert np.linalg.norm(left) == pytest.approx(np.linalg.norm(values[rank:]), rel=1e-9, abs=1e-12)
    largest = values[rank] if rank < len(values) else 0.0
    assert np.linalg.norm(left, 2) == pytest.approx(largest, rel=1e-9, abs=1e-12)


@many
@given(st.data())
def test_no_other_product_of_that_rank_is_closer(data):
    conv = data.draw(ungrouped())
    rank = drawn_rank(data, conv)
    best = np.linalg.norm(matrix(conv) - matrix(compose(*split(conv, rank))))
    directions = orthonormal(conv.out_channels, rank, data.draw(seeds))
    other = directions @ np.linalg.lstsq(directions, matrix(conv), rcond=None)[0]
    assert best <= np.linalg.norm(matrix(conv) - other) + 1e-9


@few
@given(st.data())
def test_weights_of_lower_rank_lose_nothing(data):
    conv = data.draw(ungrouped())
    rank = drawn_rank(data, conv)
    low = replace(conv, weight=compose(*split(conv, rank)).weight)
    x = data.draw(inputs(low))
    narrow, wide = split(low, rank)
    assert np.linalg.matrix_rank(matrix(low)) == rank
    assert_close(convolve(wide, convolve(narrow, x)), convolve(low, x))


def test_more_rank_is_never_further_off():
    conv = conv_2d(8, 4)
    errors = [np.linalg.norm(matrix(conv) - matrix(compose(*split(conv, rank)))) for rank in range(1, 9)]
    assert all(later < earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-12


# Projection of the outputs.


@many
@given(st.data())
def test_a_projection_projects_the_outputs_about_the_mean(data):
    conv = data.draw(ungrouped())
    x = data.draw(inputs(conv))
    random = np.random.default_rng(data.draw(seeds))
    rank = data.draw(st.integers(1, conv.out_channels))
    directions, mean = orthonormal(conv.out_channels, rank, data.draw(seeds)), random.normal(size=conv.out_channels)
    narrow, wide = project(conv, directions, mean)
    centred = np.moveaxis(convolve(conv, x), 1, -1) - mean
    expected = np.moveaxis(centred @ directions @ directions.T + mean, -1, 1)
    assert_close(convolve(wide, convolve(narrow, x)), expected)


def test_all_directions_leave_the_outputs_where_they_are_whatever_the_mean():
    conv = conv_2d(5, pads_begin=(1, 0), pads_end=(0, 2), strides=(2, 1))
    x = np.random.default_rng(1).normal(size=(2, 3, 7, 6))
    narrow, wide = project(conv, orthonormal(5, 5), np.array([100.0, -3, 0, 7, 1]))
    assert_close(convolve(wide, convolve(narrow, x)), convolve(conv, x))


def test_the_mean_of_the_outputs_is_left_where_it_is():
    conv = conv_2d(5)
    x = np.random.default_rng(1).normal(size=(4, 3, 6, 6))
    made = convolve(conv, x)
    mean = made.mean(axis=(0, 2, 3))
    narrow, wide = project(conv, orthonormal(5, 1), mean)
    np.testing.assert_allclose(convolve(narrow, x).mean(), 0, atol=1e-12)
    np.testing.assert_allclose(convolve(wide, convolve(narrow, x)).mean(axis=(0, 2, 3)), mean)


def test_to_project_twice_is_to_project_once():
    conv, directions, mean = conv_2d(5), orthonormal(5, 2), np.arange(5.0)
    once = compose(*project(conv, directions, mean))
    twice = compose(*project(once, directions, mean))
    assert_close(twice.weight, once.weight)
    assert_close(twice.bias, once.bias)


# What cannot be split.


@pytest.mark.parametrize("groups", [2, 4])
def test_a_convolution_of_groups_is_refused(groups):
    conv = Convolution.of(np.ones((4, 4 // groups, 3)), groups=groups)
    with pytest.raises(ValueError, match=f"of {groups} groups is not split"):
        split(conv, 1)


@pytest.mark.parametrize("rank", [-1, 0, 7])
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ValueError, match=f"A rank of {rank} is not between 1 and 6"):
        split(conv_2d(6), rank)


@pytest.mark.parametrize("shape", [(6, 4), (6, 2, 2), (6, 1, 2, 2), (6, 4, 1, 1, 1)])
def test_a_rank_beyond_the_inputs_under_the_kernel_is_refused(shape):
    conv = Convolution.of(np.random.default_rng(0).normal(size=shape))
    assert split(conv, 4)[0].out_channels == 4
    with pytest.raises(ValueError, match="A rank of 5 is more than the 4 inputs under the kernel"):
        split(conv, 5)
