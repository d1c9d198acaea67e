"""The activation that reads a fitted sum, through which the fit looks.

Where the original's output t is rectified next, all that matters is act(t), and a fit to t wastes its freedom on
negative values. |act(t) - act(z)|^2 is at most

    G(z) = sum over t > 0 of (t - z)^2  +  sum over t <= 0 of max(z, 0)^2

which is convex, and which |t' - z|^2 majorises at the current z_k with

    t' = t                where t > 0
    t' = min(z_k, 0)      where t <= 0        (and likewise above the upper bound of a Clip)

so a few rounds of the same ridge regression with new targets minimise it (majorisation-minimisation; Hunter and
Lange, 2004). Where a parabola p takes the activation's place, |act(t) - p(z)|^2 is no longer convex. There a round
takes a damped Gauss-Newton step, for which all rows share one slope, so that the factorised matrix stays:

    t' = z_k + p'(z_k) (act(t) - p(z_k)) / (2 mean p'(z_k)^2)

Neither kind of round need lower the error after the activation, so for each output the best of all is kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.fitting.products import blocks

__all__ = ["Curves", "Rectifier"]

# The damping of Gauss-Newton steps.
_STEP = 0.5

_Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Curves:
    """Parabolas square z^2 + linear z + constant that take the activation's place for some outputs.

    Attributes:
        squared: (groups, 1, outputs), for which.
        square: like `squared`, as for the following.
        linear: coefficients.
        constant: coefficients.
    """

    squared: NDArray[np.bool_]
    square: _Array
    linear: _Array
    constant: _Array

    def __call__(self, z: _Array) -> _Array:
        """The parabolas of z (groups, rows, outputs)."""
        made: _Array = (self.square * z + self.linear) * z + self.constant
        return made

    def slope(self, z: _Array) -> _Array:
        """Their derivative at z (groups, rows, outputs)."""
        made: _Array = 2 * self.square * z + self.linear
        return made

    def steepness(self, z: _Array) -> _Array:
        """The mean square of the derivative over the rows of z, (groups, 1, outputs)."""
        made: _Array = np.mean(np.square(self.slope(z)), axis=1, keepdims=True)
        return made

    def outputs(self, which: slice) -> "Curves":
        """Those of some of the outputs."""
        parts = (part[:, :, which] for part in (self.square, self.linear, self.constant))
        return Curves(self.squared[:, :, which], *parts)


@dataclass(frozen=True, eq=False)
class Rectifier:
    """The activation min(max(z, lower), upper); with infinite bounds, none.

    Attributes:
        upper: one bound, or (groups, 1, outputs).
        lower: likewise.
        curves: what takes its place for some outputs of the rewritten network.
    """

    upper: float | _Array = float("inf")
    lower: float | _Array = 0.0
    curves: Curves | None = None

    def outputs(self, which: slice) -> "Rectifier":
        """That of some of the outputs."""
        upper, lower = (b[:, :, which] if isinstance(b, np.ndarray) else b for b in (self.upper, self.lower))
        return Rectifier(upper, lower, None if self.curves is None else self.curves.outputs(which))

    def errors(self, targets: _Array, now: _Array) -> NDArray[np.float64]:
        """Summed squared errors after the activation, (groups, outputs).

        Args:
            targets: what the original computes, (groups, rows, outputs).
            now: what the fit makes of it.
        """
        total = np.zeros(now[:, 0].shape)
        for rows in blocks(now.shape[1]):
            difference = np.clip(now[:, rows], self.lower, self.upper)
            if self.curves is not None:
                difference = np.where(self.curves.squared, self.curves(now[:, rows]), difference)
            difference -= np.clip(targets[:, rows], self.lower, self.upper)
            total += np.sum(np.square(difference, out=difference), axis=1, dtype=np.float64)
        return total

    def renewed(self, targets: _Array, now: _Array) -> _Array:
        """The targets of the next round."""
        result = np.empty_like(now)
        steepness = None if self.curves is None else self.curves.steepness(now)
        for rows in blocks(now.shape[1]):
            result[:, rows] = self._renewed(targets[:, rows], now[:, rows], steepness)
        return result

    def _renewed(self, targets: _Array, now: _Array, steepness: _Array | None) -> _Array:
        result = np.where(targets <= self.lower, np.minimum(now, self.lower), targets)
        if np.any(np.isfinite(self.upper)):
            result = np.where(targets >= self.upper, np.maximum(now, self.upper), result)
        if self.curves is not None and steepness is not None:
            result = np.where(self.curves.squared, self._step(self.curves, targets, now, steepness), result)
        return result

    def _step(self, curves: Curves, targets: _Array, now: _Array, mean: _Array) -> _Array:
        slope = curves.slope(now)
        step: _Array = now + _STEP * slope * (np.clip(targets, self.lower, self.upper) - curves(now)) / (mean + 1e-12)
        return step
