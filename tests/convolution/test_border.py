from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.convolution import Convolution, border_bias_map, compose, convolve, exactness
from tests.convolution.convolution_cases import (
    assert_close,
    chains,
    convolutions,
    few,
    inputs,
    many,
    relative_error,
    seeds,
    signed_input,
)


def random_conv(*shape, bias=True, **options):
    random = np.random.default_rng(sum(shape))
    return Convolution.of(random.normal(size=shape), random.normal(size=shape[0]) * bias, **options)


def without_bias(conv):
    return replace(conv, bias=np.zeros_like(conv.bias))


def outside_ring(y, verdict):
    """The outputs that the verdict promises to be right."""
    axes = zip(verdict.ring_begin, verdict.ring_end, y.shape[2:], strict=True)
    return y[(..., *(slice(begin, max(size - end, begin)) for begin, end, size in axes))]


def wrong_rows(first, second, size):
    """Which outputs of a composite of 1-D convolutions are wrong for a random input."""
    x = signed_input(first, (size,), seed=size)
    expected = convolve(second, convolve(first, x))
    error = np.max(np.abs(convolve(compose(first, second), x) - expected), axis=(0, 1))
    return error > 1e-9 * np.sqrt(np.mean(expected**2))


def observed_rings(wrong):
    """Innermost wrong row from either side, where the middle row is right."""
    middle = len(wrong) // 2
    assert not wrong[middle]
    begin, end = np.flatnonzero(wrong[:middle]), np.flatnonzero(wrong[:middle:-1])
    return (int(begin[-1]) + 1 if begin.size else 0), (int(end[-1]) + 1 if end.size else 0)


@many
@given(st.data())
def test_right_everywhere_outside_the_ring(data):
    first, second = data.draw(chains())
    x = data.draw(inputs(first, second))
    known = data.draw(st.booleans())
    verdict = exactness(first, second, x.shape[2:] if known else None)
    actual, expected = convolve(compose(first, second), x), convolve(second, convolve(first, x))
    if verdict.kind == "exact":
        assert_close(actual, expected)
    else:
        assert any(verdict.ring_begin + verdict.ring_end)
        error = np.abs(outside_ring(actual, verdict) - outside_ring(expected, verdict))
        assert np.max(error, initial=0) <= 1e-9 * np.sqrt(np.mean(expected**2))


@many
@given(st.data())
def test_the_ring_is_as_narrow_as_it_can_be(data):
    first, second = data.draw(chains(rank=1))
    period = first.strides[0] * second.strides[0]
    observed = []
    for size in range(150, 150 + period):
        begin, end = observed_rings(wrong_rows(first, second, size))
        verdict = exactness(first, second, (size,))
        assert (verdict.ring_begin, verdict.ring_end) == ((begin,), (end,))
        observed.append((begin, end))
    verdict = exactness(first, second)
    assert (verdict.ring_begin, verdict.ring_end) == tuple((max(side),) for side in zip(*observed, strict=True))


@many
@given(st.data())
def test_the_bias_map_repairs_what_is_repairable(data):
    rank = data.draw(st.integers(1, 2))
    first = data.draw(convolutions(rank, max_kernel=1, pads=st.integers(0, 2), bias=True))
    second = data.draw(convolutions(rank, in_channels=first.out_channels, pads=st.integers(1, 3)))
    assert exactness(first, second).repairable
    x = data.draw(inputs(first, second))
    constant = border_bias_map(first, second, x.shape[2:])
    actual = convolve(without_bias(compose(first, second)), x) + constant
    assert_close(actual, convolve(second, convolve(first, x)))


@many
@given(st.data())
def test_with_the_bias_map_only_the_taps_are_to_blame(data):
    first, second = data.draw(chains())
    x = data.draw(inputs(first, second))
    actual = convolve(without_bias(compose(first, second)), x) + border_bias_map(first, second, x.shape[2:])
    expected = convolve(second, convolve(first, x))
    verdict = exactness(without_bias(first), second)
    error = np.abs(outside_ring(actual, verdict) - outside_ring(expected, verdict))
    assert np.max(error, initial=0) <= 1e-9 * np.sqrt(np.mean(expected**2))


PADDED = {"pads_begin": (1, 1)}


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (random_conv(3, 2), random_conv(4, 3), "no border"),
        (random_conv(3, 2, 3, 3, **PADDED), random_conv(4, 3, 3, 3), "no padding"),
        (random_conv(3, 2, 3, 3, **PADDED), random_conv(4, 3, 1, 1, strides=(2, 2)), "no padding"),
        (random_conv(3, 2, 3, 3), random_conv(4, 3, 3, 3, pads_begin=(-1, 0)), "no padding"),
        (random_conv(3, 2, 1, 1, bias=False), random_conv(4, 3, 3, 3, **PADDED), "1x1, unpadded"),
        (random_conv(3, 2, 3, 3, pads_begin=(2, 2), bias=False), random_conv(4, 3, 3, 3, **PADDED), "zeros"),
    ],
    ids=["linear", "second unpadded", "second pointwise", "second cropped", "first pointwise", "first full"],
)
def test_exact_cases(first, second, why):
    verdict = exactness(first, second)
    assert (verdict.kind, verdict.repairable) == ("exact", False)
    assert verdict.ring_begin == verdict.ring_end == (0,) * first.rank
    assert why in verdict.reason


@pytest.mark.parametrize(
    ("first", "second", "begin", "end"),
    [
        (random_conv(3, 2, 3, 3, **PADDED), random_conv(4, 3, 3, 3, **PADDED), (1, 1), (1, 1)),
        (random_conv(3, 2, 3, 3), random_conv(4, 3, 1, 1, **PADDED), (1, 1), (1, 1)),
        (random_conv(3, 2, 3, 3, **PADDED), random_conv(4, 3, 5, 5, pads_begin=(2, 2)), (2, 2), (2, 2)),
        (
            random_conv(3, 2, 3, 3, **PADDED),
            random_conv(4, 3, 3, 3, pads_begin=(0, 1), pads_end=(1, 0)),
            (0, 1),
            (1, 0),
        ),
    ],
    ids=["3x3 twice", "padded 1x1", "5x5", "asymmetric"],
)
def test_border_cases(first, second, begin, end):
    verdict = exactness(first, second)
    assert (verdict.kind, verdict.repairable) == ("border", False)
    assert (verdict.ring_begin, verdict.ring_end) == (begin, end)
    assert "taps still reach the input" in verdict.reason


def test_a_bias_alone_is_repairable():
    verdict = exactness(random_conv(3, 2, 1, 1), random_conv(4, 3, 3, 3, **PADDED))
    assert (verdict.kind, verdict.repairable) == ("border", True)
    assert verdict.ring_begin == verdict.ring_end == (1, 1)
    assert "bias" in verdict.reason


def test_a_known_size_can_be_exact_where_not_all_are():
    patches = random_conv(3, 2, 2, strides=(2,), bias=False)
    second = random_conv(4, 3, 3, pads_begin=(1,))
    assert exactness(patches, second).kind == "border"
    assert exactness(patches, second, (9,)).kind == "border"
    assert exactness(patches, second, (8,)).kind == "exact"


@few
@given(seeds)
def test_the_bias_map_is_constant_away_from_the_border(seed):
    random = np.random.default_rng(seed)
    first = Convolution.of(random.normal(size=(3, 2, 1, 1)), random.normal(size=3))
    second = Convolution.of(random.normal(size=(4, 3, 3, 3)), random.normal(size=4), **PADDED)
    constant = border_bias_map(first, second, (6, 5))
    inner = np.broadcast_to(compose(first, second).bias[:, None, None], (4, 4, 3))
    assert constant.shape == (4, 6, 5)
    assert_close(constant[:, 1:-1, 1:-1], inner)
    assert relative_error(constant[:, :1], np.broadcast_to(inner[:, :1, :1], (4, 1, 5))) > 1e-3


def test_layers_that_do_not_chain_are_refused():
    first, second = random_conv(3, 2, 3), random_conv(3, 2, 3)
    with pytest.raises(ValueError, match="reads 2"):
        exactness(first, second)
    with pytest.raises(ValueError, match="reads 2"):
        border_bias_map(first, second, (9,))
