"""What the tests of this folder share: random convolutions, fitting inputs, and how close is equal."""

import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution

Array = NDArray[np.float64]

# Every test draws the same examples on every machine.
few = settings(deadline=None, max_examples=60, derandomize=True)
many = settings(deadline=None, max_examples=250, derandomize=True)

seeds = st.integers(0, 2**32 - 1)
ranks = st.integers(0, 2)


def relative_error(actual: Array, expected: Array) -> float:
    """Largest difference in units of the expected output's RMS."""
    assert actual.shape == expected.shape
    rms = math.sqrt(np.mean(expected**2)) or 1.0
    return float(np.max(np.abs(actual - expected), initial=0.0)) / rms


def assert_close(actual: Array, expected: Array, tolerance: float = 1e-9) -> None:
    error = relative_error(actual, expected)
    assert error <= tolerance, f"differs by {error:.3g} of the expected output's RMS"


def signed_input(conv: Convolution, spatial: tuple[int, ...], samples: int = 2, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(samples, conv.in_channels, *spatial))


@st.composite
def convolutions(
    draw: st.DrawFn,
    rank: int,
    in_channels: int | None = None,
    out_multiple: int = 1,
    *,
    max_kernel: int = 3,
    pads: st.SearchStrategy[int] | None = None,
    bias: bool | None = None,
) -> Convolution:
    """Draw a convolution whose output channels are a multiple of `out_multiple`."""
    if in_channels is None:
        in_channels = draw(st.sampled_from([1, 2, 4]))
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if in_channels % g == 0]))
    out_channels = math.lcm(groups, out_multiple) * draw(st.integers(1, 2))

    def integers(strategy: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(strategy) for _ in range(rank))

    kernel = integers(st.integers(1, max_kernel))
    random = np.random.default_rng(draw(seeds))
    has_bias = draw(st.booleans()) if bias is None else bias
    pads = st.integers(-2, 4) if pads is None else pads
    return Convolution(
        weight=random.normal(size=(out_channels, in_channels // groups, *kernel)),
        bias=random.normal(size=out_channels) * has_bias,
        strides=integers(st.integers(1, 3)),
        dilations=integers(st.integers(1, 3)),
        pads_begin=integers(pads),
        pads_end=integers(pads),
        groups=groups,
    )


def smallest_input(conv: Convolution, outputs: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The smallest spatial size that gives at least `outputs` (1 each, where left out)."""
    axes = zip(
        outputs or (1,) * conv.rank,
        conv.strides,
        conv.extent,
        conv.pads_begin,
        conv.pads_end,
        strict=True,
    )
    return tuple(max((count - 1) * stride + extent - begin - end, 1) for count, stride, extent, begin, end in axes)


@st.composite
def inputs(draw: st.DrawFn, conv: Convolution, then: Convolution | None = None) -> Array:
    """Draw a signed input that `conv`, and where given `then` after it, can read."""
    smallest = smallest_input(conv, smallest_input(then) if then else None)
    spatial = tuple(size + draw(st.integers(0, 6)) for size in smallest)
    return signed_input(conv, spatial, seed=draw(seeds))


@st.composite
def chains(
    draw: st.DrawFn, rank: int | None = None, *, pads: st.SearchStrategy[int] | None = None
) -> tuple[Convolution, Convolution]:
    """Draw two convolutions of which the second, whose pads are `pads`, reads what the first writes."""
    if rank is None:
        rank = draw(ranks)
    first = draw(convolutions(rank, out_multiple=draw(st.sampled_from([1, 2, 4]))))
    return first, draw(convolutions(rank, in_channels=first.out_channels, pads=pads))
