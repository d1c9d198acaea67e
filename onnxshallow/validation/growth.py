"""How much larger activations become than the original's, on ordinary inputs and on inputs made to provoke it.

A square grows faster than the activation that it takes the place of, and what is too large at one site is squared at
those that follow: a network may be right on thousands of samples and end in 1e30 on the next. So growth is looked at,
site by site, and not accuracy:

    growth on some samples = max over sites of (largest |y| in the rewritten network / largest |y| in the original)
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.numbers import Real

__all__ = ["BOUND", "Growth", "Range", "Stability", "bits", "growth", "stability_findings"]

BOUND = 6.0
"""The growth beyond which a network with squares is refused, on any set."""

# A site that never gets beyond this share of the largest activation of all counts as if it did.
_SMALL = 1e-3


@dataclass(frozen=True)
class Growth:
    """How much larger activations become on some samples.

    Attributes:
        samples: which, in words.
        count: how many.
        factor: the largest growth of any site; infinite where an activation is not finite.
        site: where that is.
    """

    samples: str
    count: int
    factor: Real
    site: str


@dataclass(frozen=True)
class Range:
    """The range of one site's activations over all sets.

    Attributes:
        site: its name.
        original: the largest absolute value in the original.
        optimized: that in the rewritten network.
        bits: what fixed-point arithmetic needs before the point for the latter as it is stored, the sign included.
    """

    site: str
    original: Real
    optimized: Real
    bits: int | None


@dataclass(frozen=True)
class Stability:
    """How far activations of a network with squares grow on everything that was looked at.

    Attributes:
        growth: on each set of samples.
        ranges: of each site, over all of them.
    """

    growth: tuple[Growth, ...]
    ranges: tuple[Range, ...]

    @property
    def worst(self) -> Growth:
        """The set on which activations grow most."""
        return max(self.growth, key=lambda each: each.factor)

    @property
    def why_unstable(self) -> str | None:
        """What goes wrong, in words; None where nothing grows beyond `BOUND`."""
        worst = self.worst
        if worst.factor <= BOUND:
            return None
        return (
            f"on {worst.samples}, the activations of {worst.site!r} grow to {worst.factor:.3g} times the original's, "
            f"more than {BOUND:g}"
        )

    @property
    def in_short(self) -> str:
        """How far activations grow, in a few words."""
        return f"activations up to {max(self.worst.factor, 1.0):.2g}x the original's"


def stability_findings(stability: Stability | None, advice: str = "") -> list[Finding]:
    """What speaks against a network whose activations grow.

    Args:
        stability: what is known; None for a network without squares, which nothing is known against.
        advice: what to do, in a sentence.
    """
    if stability is None or (why := stability.why_unstable) is None:
        return []
    return [Finding("stability", f"It is not stable: {why}. {advice}".rstrip(), refuses=True)]


def growth(original: NDArray[np.float64], rewritten: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much larger the second is than the first, tensor by tensor.

    Args:
        original: (..., tensors) largest absolute values.
        rewritten: likewise; NaN counts as infinite.
    """
    least = _SMALL * original.max(axis=-1, initial=0.0, keepdims=True)
    result: NDArray[np.float64] = rewritten / np.maximum(original, np.where(least > 0, least, 1.0))
    return result


def bits(largest: float) -> int | None:
    """What fixed-point arithmetic needs before the point for values up to the largest, the sign included."""
    if not math.isfinite(largest):
        return None
    return 1 + max(0, math.frexp(largest)[1])
