from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, convolve, input_shift_map, scale_input, scale_output
from tests.convolution.convolution_cases import assert_close, convolutions, inputs, many, ranks


def per_channel(vector, rank):
    return np.asarray(vector).reshape(-1, *(1,) * rank)


@st.composite
def layers(draw, **options):
    """A convolution, a fitting input, and a generator for scales and shifts."""
    conv = draw(ranks.flatmap(lambda rank: convolutions(rank, **options)))
    return conv, draw(inputs(conv)), np.random.default_rng(draw(st.integers(0, 999)))


@many
@given(layers())
def test_scaling_the_output_is_exact(layer):
    conv, x, random = layer
    scale, shift = random.normal(size=(2, conv.out_channels))
    expected = per_channel(scale, conv.rank) * convolve(conv, x) + per_channel(shift, conv.rank)
    assert_close(convolve(scale_output(conv, scale, shift), x), expected)


@many
@given(layers())
def test_scaling_the_input_is_exact(layer):
    conv, x, random = layer
    scale = random.normal(size=conv.in_channels)
    assert_close(convolve(scale_input(conv, scale), x), convolve(conv, per_channel(scale, conv.rank) * x))


@many
@given(layers(pads=st.integers(-2, 0)))
def test_shifting_the_input_is_exact_without_padding(layer):
    conv, x, random = layer
    scale, shift = random.normal(size=(2, conv.in_channels))
    expected = convolve(conv, per_channel(scale, conv.rank) * x + per_channel(shift, conv.rank))
    assert_close(convolve(scale_input(conv, scale, shift), x), expected)


@many
@given(layers())
def test_shifting_the_input_is_exact_with_the_map(layer):
    conv, x, random = layer
    scale, shift = random.normal(size=(2, conv.in_channels))
    expected = convolve(conv, per_channel(scale, conv.rank) * x + per_channel(shift, conv.rank))
    scaled = scale_input(conv, scale, shift)
    constant = input_shift_map(conv, shift, x.shape[2:])
    assert_close(convolve(replace(scaled, bias=np.zeros_like(scaled.bias)), x) + constant, expected)


def test_a_padded_shift_is_exact_inside_and_wrong_at_the_border():
    random = np.random.default_rng(0)
    conv = Convolution.of(random.normal(size=(3, 2, 3, 3)), pads_begin=(1, 1))
    x = random.normal(size=(1, 2, 6, 6))
    error = np.abs(convolve(scale_input(conv, 1.0, 1.0), x) - convolve(conv, x + 1.0))
    assert error[..., 1:-1, 1:-1].max() < 1e-12
    assert error[..., 0, :].max() > 0.1


def test_one_number_serves_all_channels():
    conv = Convolution.of(np.ones((3, 2, 3)), np.ones(3))
    assert np.array_equal(scale_output(conv, 2.0, 1.0).bias, np.full(3, 3.0))
    assert np.array_equal(scale_input(conv, 2.0, 1.0).bias, np.full(3, 7.0))


@pytest.mark.parametrize("change", [scale_output, scale_input])
@pytest.mark.parametrize("arguments", [(np.ones(5),), (1.0, np.ones(5)), (np.ones((1, 1)),)])
def test_vectors_of_another_length_are_refused(change, arguments):
    with pytest.raises(ValueError, match="channels"):
        change(Convolution.of(np.ones((3, 2, 3))), *arguments)
