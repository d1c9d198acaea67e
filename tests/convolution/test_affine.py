import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, convolve, scale_output
from tests.convolution.convolution_cases import assert_close, convolutions, inputs, many, ranks


def per_channel(vector, rank):
    return np.asarray(vector).reshape(-1, *(1,) * rank)


@st.composite
def layers(draw):
    """A convolution, a fitting input, and a generator for scales and shifts."""
    conv = draw(ranks.flatmap(convolutions))
    return conv, draw(inputs(conv)), np.random.default_rng(draw(st.integers(0, 999)))


@many
@given(layers())
def test_scaling_the_output_is_exact(layer):
    conv, x, random = layer
    scale, shift = random.normal(size=(2, conv.out_channels))
    expected = per_channel(scale, conv.rank) * convolve(conv, x) + per_channel(shift, conv.rank)
    assert_close(convolve(scale_output(conv, scale, shift), x), expected)


def test_one_number_serves_all_channels():
    conv = Convolution.of(np.ones((3, 2, 3)), np.ones(3))
    assert np.array_equal(scale_output(conv, 2.0, 1.0).bias, np.full(3, 3.0))


def test_nothing_is_shifted_unless_that_is_asked_for():
    conv = Convolution.of(np.ones((3, 2, 3)), np.ones(3))
    assert np.array_equal(scale_output(conv, 2.0).bias, np.full(3, 2.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(5),), r"The scale has shape \(5,\), but there are 3 channels"),
        ((1.0, np.ones(5)), r"The shift has shape \(5,\), but there are 3 channels"),
        ((np.ones((1, 1)),), r"The scale has shape \(1, 1\)"),
    ],
)
def test_vectors_of_another_length_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        scale_output(Convolution.of(np.ones((3, 2, 3))), *arguments)
