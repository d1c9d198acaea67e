import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, compose, composes_exactly, convolve
from tests.convolution.convolution_cases import assert_close, chains, inputs, many, signed_input


def random_conv(*shape, bias=True, **options):
    random = np.random.default_rng(sum(shape))
    return Convolution.of(random.normal(size=shape), random.normal(size=shape[0]) * bias, **options)


def is_wrong_somewhere(first, second, size):
    """Whether a composite of 1-D convolutions is wrong for a random input."""
    x = signed_input(first, (size,), seed=size)
    expected = convolve(second, convolve(first, x))
    error = np.abs(convolve(compose(first, second), x) - expected).max()
    return error > 1e-9 * np.sqrt(np.mean(expected**2))


@many
@given(st.data())
def test_right_everywhere_where_it_is_said_to_be(data):
    first, second = data.draw(chains())
    x = data.draw(inputs(first, second))
    if composes_exactly(first, second):
        assert_close(convolve(compose(first, second), x), convolve(second, convolve(first, x)))


@many
@given(chains(rank=1))
def test_wrong_for_some_size_where_it_is_not_said_to_be_exact(chain):
    first, second = chain
    sizes = range(150, 150 + first.strides[0] * second.strides[0])
    assert composes_exactly(first, second) != any(is_wrong_somewhere(first, second, size) for size in sizes)


PADDED = {"pads_begin": (1, 1)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (random_conv(3, 2), random_conv(4, 3)),
        (random_conv(3, 2, 3, 3, **PADDED), random_conv(4, 3, 3, 3)),
        (random_conv(3, 2, 3, 3, **PADDED), random_conv(4, 3, 1, 1, strides=(2, 2))),
        (random_conv(3, 2, 3, 3), random_conv(4, 3, 3, 3, pads_begin=(-1, 0))),
        (random_conv(3, 2, 1, 1, bias=False), random_conv(4, 3, 3, 3, **PADDED)),
        (random_conv(3, 2, 3, 3, pads_begin=(2, 2), bias=False), random_conv(4, 3, 3, 3, **PADDED)),
    ],
    ids=["linear", "second unpadded", "second pointwise", "second cropped", "first pointwise", "first full"],
)
def test_exact_cases(first, second):
    assert composes_exactly(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (random_conv(3, 2, 3, 3, bias=False, **PADDED), random_conv(4, 3, 3, 3, **PADDED)),
        (random_conv(3, 2, 3, 3, bias=False), random_conv(4, 3, 1, 1, **PADDED)),
        (random_conv(3, 2, 3, bias=False), random_conv(4, 3, 3, pads_begin=(1,), pads_end=(0,))),
        (random_conv(3, 2, 3, bias=False), random_conv(4, 3, 3, pads_begin=(0,), pads_end=(1,))),
        (random_conv(3, 2, 1, 1), random_conv(4, 3, 3, 3, **PADDED)),
    ],
    ids=["3x3 twice", "padded 1x1", "begin alone", "end alone", "bias alone"],
)
def test_border_cases(first, second):
    assert not composes_exactly(first, second)


def test_a_size_that_is_exact_does_not_make_all_of_them_exact():
    patches, second = random_conv(3, 2, 2, strides=(2,), bias=False), random_conv(4, 3, 3, pads_begin=(1,))
    assert [is_wrong_somewhere(patches, second, size) for size in (8, 9)] == [False, True]
    assert not composes_exactly(patches, second)


def test_layers_that_do_not_chain_are_refused():
    with pytest.raises(ValueError, match="reads 2"):
        composes_exactly(random_conv(3, 2, 3), random_conv(3, 2, 3))
