"""What fixed-point arithmetic makes of a network, against its floating-point self.

A network that is right in float32 may be lost in fixed point: what is smaller than 2^-18 vanishes there, what is
multiplied by a large number afterwards comes back as noise, and large squares wrap around. So the network is run on
samples as it is, and as engines of secure computation run it (`onnxshallow.private.fixed_point`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis
from onnxshallow.private.fixed_point import FIELD_BITS, FRACTION_BITS, in_fixed_point, largest_value
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.growth import bits
from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.numbers import Real
from onnxshallow.validation.peaks import Peaks

__all__ = [
    "LEAST_AGREEMENT",
    "MOST_ERROR",
    "FixedPoint",
    "SiteRange",
    "WeightRange",
    "fixed_point",
    "fixed_point_findings",
    "smallest_weight",
]

LEAST_AGREEMENT = 0.99
"""The part of the samples that must stay in their class."""

MOST_ERROR = 0.002
"""The largest error of an output, as a part of the largest output: 0.06 at logits of 30."""

# Weights count as long as all smaller ones together make up this part of the layer's sum of squares.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class SiteRange:
    """How large the values that one activation makes become, as they are stored.

    Attributes:
        site: its name.
        largest: the largest absolute value.
        bits: what it needs before the point, the sign included; None where it is not finite.
    """

    site: str
    largest: Real
    bits: int | None


@dataclass(frozen=True)
class WeightRange:
    """How small and how large the weights of one layer are.

    Attributes:
        layer: its name.
        smallest: the smallest absolute value that matters (`smallest_weight`).
        largest: the largest absolute value.
    """

    layer: str
    smallest: Real
    largest: Real


@dataclass(frozen=True)
class FixedPoint:
    """A network in fixed point against itself in float32, on some samples.

    Attributes:
        samples: how many.
        fraction_bits: bits after the point.
        field_bits: bits of a number.
        agreement: the part of the samples whose outputs of rank two all have their largest value at the same place;
            None where there is no such output.
        error: the largest absolute difference of any output.
        largest_output: the largest absolute value of any output in float32.
        sites: the range of each activation.
        weights: the range of each layer's weights.
    """

    samples: int
    fraction_bits: int
    field_bits: int
    agreement: float | None
    error: Real
    largest_output: Real
    sites: tuple[SiteRange, ...]
    weights: tuple[WeightRange, ...]

    @property
    def why_lost(self) -> str | None:
        """What goes wrong, in words; None where nothing does."""
        most = largest_value(self.fraction_bits)
        over = [each for each in self.sites if not each.largest < most]
        if over:
            return f"the activations of {over[0].site!r} reach {over[0].largest:.3g}, and wrap around at {most:.3g}"
        if self.agreement is not None and self.agreement < LEAST_AGREEMENT:
            return f"{100 * (1 - self.agreement):.3g} % of {self.samples} samples change their class"
        if not self.error <= MOST_ERROR * self.largest_output:
            return f"outputs are off by up to {self.error:.3g} of {self.largest_output:.3g}"
        return None


def fixed_point(
    analysis: Analysis,
    batches: Sequence[Mapping[str, np.ndarray]],
    fraction_bits: int = FRACTION_BITS,
    threads: int = 0,
) -> FixedPoint:
    """Compare a network with itself in fixed point.

    Args:
        analysis: of the network.
        batches: samples.
        fraction_bits: bits after the point.
        threads: of onnxruntime.

    Raises:
        ModelError: the network cannot be run in fixed point.
    """
    network = analysis.network
    plain = run_batches(network.model, batches, threads)
    rounded = run_batches(in_fixed_point(analysis, fraction_bits), batches, threads)
    floating = [pair for pair in zip(plain, rounded, strict=True) if pair[0].dtype.kind == "f"]
    scores = [pair for pair in floating if pair[0].ndim == 2 and pair[0].shape[1] > 1]
    same = [first.argmax(axis=1) == second.argmax(axis=1) for first, second in scores]
    named = {site.output: site.name for site in analysis.sites if site.node >= 0}
    largest = []
    if named:  # a network of squares alone has none
        peaks = Peaks(network, tuple(named), threads)
        for batch in batches:
            peaks(batch)
        largest = [float(value) for value in peaks.stored]
    return FixedPoint(
        samples=len(plain[0]),
        fraction_bits=fraction_bits,
        field_bits=FIELD_BITS,
        agreement=float(np.mean(np.all(same, axis=0))) if same else None,
        error=max((_largest(second - first) for first, second in floating), default=0.0),
        largest_output=max((_largest(first) for first, _ in floating), default=0.0),
        sites=tuple(SiteRange(name, value, bits(value)) for name, value in zip(named.values(), largest, strict=True)),
        weights=tuple(
            WeightRange(layer.name, smallest_weight(weight), float(np.abs(weight).max(initial=0.0)))
            for layer in analysis.layers
            for weight in (analysis.layers.convolution(layer).weight,)
        ),
    )


def _largest(values: np.ndarray) -> float:
    """The largest absolute value; infinite where one is not finite."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest if math.isfinite(largest) else math.inf


def smallest_weight(weight: NDArray[np.float64]) -> float:
    """The smallest absolute weight that matters: all smaller ones make up a millionth of the sum of squares."""
    sizes = np.sort(np.abs(weight), axis=None)
    share = np.cumsum(np.square(sizes))
    matters = sizes[share > _NEGLIGIBLE * share[-1]] if len(sizes) else sizes
    return float(matters[0]) if len(matters) else 0.0


def fixed_point_findings(found: FixedPoint | None, advice: str = "") -> list[Finding]:
    """What speaks against a network that fixed-point arithmetic loses.

    Args:
        found: what is known; None where nothing was asked for.
        advice: what to do, in a sentence.
    """
    if found is None or (why := found.why_lost) is None:
        return []
    text = f"In fixed point with {found.fraction_bits} bits after the point it is lost: {why}. {advice}".rstrip()
    return [Finding("accuracy", text, refuses=True)]
