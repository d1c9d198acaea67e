"""Regression of a convolution's weights on calibration activations.

**Ridge.** For patches P (rows x unknowns), targets T (rows x outputs) and current weights W0, minimise

    |T - P W - 1 b|^2 + lambda d |W - W0|^2,        d = mean diagonal of the centred P'P,

with an unpenalised bias b. With S_xx and S_xt the centred sums, W = W0 + (S_xx + lambda d I)^-1 (S_xt - S_xx W0).
Centring the ridge on W0 instead of on zero makes the answer fall back to what the network computed before wherever
the data say little. Where rows are few, lambda is the one of several that predicts held-out samples best.

**Through the activation that follows.** Where the original's output z is rectified next, all that matters is
relu(z), and a fit to z wastes its freedom on negative values. |relu(t) - relu(z)|^2 is at most

    G(z) = sum over t > 0 of (t - z)^2  +  sum over t <= 0 of max(z, 0)^2

which is convex, and which |t' - z|^2 majorises at the current z_k with

    t' = t                where t > 0
    t' = min(z_k, 0)      where t <= 0        (and likewise above the upper bound of a Clip)

so a few rounds of the same ridge regression with new targets minimise it, each at the price of two products: the
factorised matrix stays. G never rises (majorisation-minimisation; Hunter and Lange, 2004). The error after the
activation is what counts, and may rise where outputs change their sign, so the best of all rounds is kept.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution
from onnxshallow.fitting.products import blas_threads, cross_product, gram, predict

__all__ = ["Rectifier", "Rows", "bytes_needed", "regress"]

logger = logging.getLogger(__name__)

# With so many rows for each unknown the strength of the ridge hardly matters; with fewer it decides.
_ROWS_ENOUGH = 40
_RIDGE_FACTORS = (1.0, 10.0, 100.0, 1000.0, 10000.0)

# A variance below this share of the mean square is what float32 sums leave of a constant.
_NOISE = 2e-5


@dataclass(frozen=True)
class Rectifier:
    """The activation that reads the fitted sum: min(max(z, 0), upper); with `lower` at minus infinity, none."""

    upper: float = float("inf")
    lower: float = 0.0


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one regression.

    Attributes:
        patches: (groups, rows, unknowns) inputs under the kernel.
        targets: (groups, rows, outputs) what the layer's output plus `offsets` should be.
        offsets: (groups, rows, outputs) what is added to the layer's output, or None for nothing.
    """

    patches: NDArray[np.float32]
    targets: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None

    def part(self, which: slice) -> "Rows":
        """Some of the rows."""
        offsets = None if self.offsets is None else self.offsets[:, which]
        return Rows(self.patches[:, which], self.targets[:, which], offsets)


def bytes_needed(unknowns: int, outputs: int, groups: int) -> int:
    """Roughly what the sums and their factorisation take, for one group's unknowns and outputs."""
    return 8 * (groups * unknowns * (2 * unknowns + 2 * outputs) + 2 * unknowns * unknowns)


@np.errstate(invalid="ignore", over="ignore")  # values that are not finite show in the result, which is looked at
def regress(
    convolution: Convolution,
    rows: Rows,
    ridge: float,
    *,
    rectifier: Rectifier | None = None,
    rounds: int = 3,
) -> Convolution:
    """Fit a convolution's weights and bias.

    Args:
        convolution: geometry, and the weights on which the ridge is centred.
        rows: what to fit.
        ridge: strength of the ridge, relative to the mean diagonal of S_xx. It is raised tenfold until the system
            is positive definite.
        rectifier: the activation to fit through, if any.
        rounds: how often the targets are renewed then.

    Returns:
        The fitted convolution; the one given where the rows say nothing (an input that does not vary, values that
        are not finite). A group whose input does not vary stays as it is.
    """
    groups, count, unknowns = rows.patches.shape
    with blas_threads(count, unknowns, groups):
        if count < _ROWS_ENOUGH * unknowns:
            ridge = _held_out_ridge(convolution, rows, ridge, rectifier)
        return _solve(convolution, rows, _System.build(rows.patches), ridge, rectifier, rounds)


def _held_out_ridge(convolution: Convolution, rows: Rows, ridge: float, rectifier: Rectifier | None) -> float:
    """The strength, `ridge` or some tens of times that, which predicts best what it was not fitted to.

    The last quarter of the rows is held out. Rows come in the order of the samples, so no sample is on both sides.
    """
    cut = max(1, rows.patches.shape[1] * 3 // 4)
    inner, outer = rows.part(slice(0, cut)), rows.part(slice(cut, None))
    system = _System.build(inner.patches)
    errors = {}
    for factor in _RIDGE_FACTORS:
        fitted = _solve(convolution, inner, system, ridge * factor, None, 0)
        groups, _, unknowns = rows.patches.shape
        now = _outputs(outer, fitted.weight.reshape(groups, -1, unknowns), fitted.bias.reshape(groups, -1))
        errors[ridge * factor] = _rectified_error(outer, now, rectifier or Rectifier(lower=-np.inf))
    logger.debug("Held-out error by ridge: %s.", errors)
    return min(errors, key=lambda strength: errors[strength])


def _solve(
    convolution: Convolution,
    rows: Rows,
    system: "_System",
    ridge: float,
    rectifier: Rectifier | None,
    rounds: int,
) -> Convolution:
    """The ridge solution with a given strength, and `rounds` of new targets where an activation follows."""
    groups, _, unknowns = rows.patches.shape
    start = convolution.weight.reshape(groups, -1, unknowns)
    given = convolution.bias.reshape(groups, -1)
    wanted = rows.targets if rows.offsets is None else rows.targets - rows.offsets
    factors = system.factorise(ridge)
    if not any(factors):
        return convolution
    weight, bias = system.solve(factors, rows.patches, wanted, start, given)
    if not (np.all(np.isfinite(weight)) and np.all(np.isfinite(bias))):
        return convolution
    if rectifier is not None and rounds > 0:
        now = _outputs(rows, weight, bias)
        least = _rectified_error(rows, now, rectifier)
        for _ in range(rounds):
            renewed = system.solve(factors, rows.patches, _renewed_targets(rows, now, rectifier), start, given)
            now = _outputs(rows, *renewed)
            error = _rectified_error(rows, now, rectifier)
            if error < least:
                least, (weight, bias) = error, renewed
    return replace(convolution, weight=weight.reshape(convolution.weight.shape), bias=bias.reshape(-1))


def _outputs(rows: Rows, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> NDArray[np.float32]:
    """What the activation reads, (groups, rows, outputs)."""
    now = predict(rows.patches, weight, bias)
    if rows.offsets is not None:
        now += rows.offsets
    return now


def _rectified_error(rows: Rows, now: NDArray[np.float32], rectifier: Rectifier) -> float:
    """The summed squared error after the activation."""
    difference = np.clip(now, rectifier.lower, rectifier.upper)
    difference -= np.clip(rows.targets, rectifier.lower, rectifier.upper)
    return float(np.sum(np.square(difference, out=difference), dtype=np.float64))


def _renewed_targets(rows: Rows, now: NDArray[np.float32], rectifier: Rectifier) -> NDArray[np.float32]:
    """Targets that cost nothing where the activation hides the difference."""
    targets = np.where(rows.targets <= 0, np.minimum(now, 0), rows.targets)
    if np.isfinite(rectifier.upper):
        targets = np.where(rows.targets >= rectifier.upper, np.maximum(now, rectifier.upper), targets)
    if rows.offsets is not None:
        targets -= rows.offsets
    result: NDArray[np.float32] = targets.astype(np.float32, copy=False)
    return result


_Factor = tuple[NDArray[np.float64], bool]


@dataclass(frozen=True, eq=False)
class _System:
    """The left-hand side of the normal equations: all that does not depend on the targets.

    `s_xx` holds the lower triangles of the centred Gram matrices.
    """

    count: int
    mean: NDArray[np.float64]
    s_xx: NDArray[np.float64]

    @classmethod
    def build(cls, patches: NDArray[np.float32]) -> "_System":
        """Sums over the rows; zeros for a group whose input does not vary or is not finite."""
        groups, count, _ = patches.shape
        total = gram(patches)
        sums = patches.sum(axis=1, dtype=np.float64)
        mean = sums / max(count, 1)
        for group in range(groups):
            square = float(np.trace(total[group]))
            total[group] -= np.outer(mean[group], sums[group])
            if not np.trace(total[group]) > _NOISE * square:
                total[group] = 0.0
        return cls(count, mean, total)

    def factorise(self, ridge: float) -> list[_Factor | None]:
        """Cholesky factors of S_xx + ridge d I, one a group; None for a group whose input does not vary."""
        return [_factorise(s_xx, ridge) for s_xx in self.s_xx]

    def solve(
        self,
        factors: list[_Factor | None],
        patches: NDArray[np.float32],
        targets: NDArray[np.float32],
        start: NDArray[np.float64],
        given: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (groups, outputs, unknowns) and biases (groups, outputs).

        `start` and `given` are the weights and biases that a group without a factor keeps.
        """
        from scipy.linalg import cho_solve
        from scipy.linalg.blas import dsymm

        products = cross_product(patches, targets)
        sums = targets.sum(axis=1, dtype=np.float64)
        weight, bias = start.copy(), given.copy()
        for group, factor in enumerate(factors):
            if factor is None:
                continue
            s_xt = products[group] - np.outer(self.mean[group], sums[group])
            residual = s_xt - dsymm(1.0, self.s_xx[group], start[group].T, lower=1)
            weight[group] = start[group] + cho_solve(factor, residual, check_finite=False).T
            bias[group] = sums[group] / self.count - weight[group] @ self.mean[group]
        return weight, bias


def _factorise(s_xx: NDArray[np.float64], ridge: float) -> _Factor | None:
    from scipy.linalg import LinAlgError, cho_factor

    unknowns = len(s_xx)
    scale = float(np.trace(s_xx)) / unknowns
    strength = ridge * scale
    while strength < 1e6 * scale:
        damped = s_xx.copy()
        damped[np.diag_indices(unknowns)] += strength
        try:
            factor: _Factor = cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
            return factor
        except LinAlgError:
            strength = max(strength * 10, 1e-8 * scale)
            logger.debug("Raising the ridge to %g: not positive definite.", strength / scale)
    return None
