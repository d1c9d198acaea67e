"""Regression of a convolution's weights on calibration activations.

**Ridge.** For patches P (rows x unknowns), targets T (rows x outputs) and current weights W0, minimise

    |T - P W - 1 b|^2 + lambda d |W - W0|^2,        d = mean diagonal of the centred P'P,

with an unpenalised bias b. With S_xx and S_xt the centred sums, W = W0 + (S_xx + lambda d I)^-1 (S_xt - S_xx W0).
Centring the ridge on W0 instead of on zero makes the answer fall back to what the network computed before wherever
the data say little.

**Through the activation that follows.** Where the original's output z is rectified next, all that matters is
relu(z), and a fit to z wastes its freedom on negative values. |relu(t) - relu(z)|^2 is majorised at the current z_k
by |t' - z|^2 with

    t' = t                where t > 0
    t' = min(z_k, 0)      where t <= 0        (and likewise above the upper bound of a Clip)

so a few rounds of the same ridge regression with new targets minimise it, each at the price of two products: the
factorised matrix stays. The error never rises (majorisation-minimisation; Hunter and Lange, 2004).
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution
from onnxshallow.fitting.products import cross_product, gram, predict

__all__ = ["Rectifier", "Rows", "bytes_needed", "regress"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rectifier:
    """The activation that reads the fitted sum: min(max(z, 0), upper)."""

    upper: float = float("inf")


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


def bytes_needed(unknowns: int, outputs: int, groups: int) -> int:
    """Roughly what the sums and their factorisation take, for one group's unknowns and outputs."""
    return 8 * (groups * unknowns * (2 * unknowns + 2 * outputs) + 2 * unknowns * unknowns)


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
        are not finite).
    """
    system = _System.build(rows.patches, ridge)
    if system is None:
        return convolution
    groups, _, unknowns = rows.patches.shape
    start = convolution.weight.reshape(groups, -1, unknowns)
    wanted = rows.targets if rows.offsets is None else rows.targets - rows.offsets
    weight, bias = system.solve(rows.patches, wanted, start)
    for _ in range(rounds if rectifier is not None else 0):
        if rectifier is not None:
            wanted = _renewed_targets(rows, weight, bias, rectifier)
            weight, bias = system.solve(rows.patches, wanted, start)
    if not (np.all(np.isfinite(weight)) and np.all(np.isfinite(bias))):
        return convolution
    return replace(convolution, weight=weight.reshape(convolution.weight.shape), bias=bias.reshape(-1))


def _renewed_targets(
    rows: Rows, weight: NDArray[np.float64], bias: NDArray[np.float64], rectifier: Rectifier
) -> NDArray[np.float32]:
    """Targets that cost nothing where the activation hides the difference."""
    now = predict(rows.patches, weight, bias)
    if rows.offsets is not None:
        now += rows.offsets
    targets = np.where(rows.targets <= 0, np.minimum(now, 0), rows.targets)
    if np.isfinite(rectifier.upper):
        targets = np.where(rows.targets >= rectifier.upper, np.maximum(now, rectifier.upper), targets)
    if rows.offsets is not None:
        targets -= rows.offsets
    result: NDArray[np.float32] = targets.astype(np.float32, copy=False)
    return result


@dataclass(frozen=True, eq=False)
class _System:
    """The left-hand side of the normal equations, factorised: all that does not depend on the targets.

    `s_xx` holds the lower triangles of the centred Gram matrices.
    """

    count: int
    mean: NDArray[np.float64]
    s_xx: NDArray[np.float64]
    factors: list[tuple[NDArray[np.float64], bool]]

    @classmethod
    def build(cls, patches: NDArray[np.float32], ridge: float) -> "_System | None":
        """Sums over the rows; None where nothing varies."""
        groups, count, _ = patches.shape
        total = gram(patches)
        sums = patches.sum(axis=1, dtype=np.float64)
        mean = sums / max(count, 1)
        factors = []
        for group in range(groups):
            total[group] -= np.outer(mean[group], sums[group])
            factor = _factorise(total[group], ridge)
            if factor is None:
                return None
            factors.append(factor)
        return cls(count, mean, total, factors)

    def solve(
        self, patches: NDArray[np.float32], targets: NDArray[np.float32], start: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (groups, outputs, unknowns) and biases (groups, outputs)."""
        from scipy.linalg import cho_solve
        from scipy.linalg.blas import dsymm

        groups = len(patches)
        products = cross_product(patches, targets)
        sums = targets.sum(axis=1, dtype=np.float64)
        weight, bias = np.empty_like(start), np.empty((groups, targets.shape[2]))
        for group in range(groups):
            s_xt = products[group] - np.outer(self.mean[group], sums[group])
            residual = s_xt - dsymm(1.0, self.s_xx[group], start[group].T, lower=1)
            weight[group] = start[group] + cho_solve(self.factors[group], residual, check_finite=False).T
            bias[group] = sums[group] / self.count - weight[group] @ self.mean[group]
        return weight, bias


def _factorise(s_xx: NDArray[np.float64], ridge: float) -> tuple[NDArray[np.float64], bool] | None:
    from scipy.linalg import LinAlgError, cho_factor

    unknowns = len(s_xx)
    scale = float(np.trace(s_xx)) / unknowns
    if not np.isfinite(scale) or scale <= 0:
        return None
    strength = ridge * scale
    while strength < 1e6 * scale:
        damped = s_xx.copy()
        damped[np.diag_indices(unknowns)] += strength
        try:
            factor: tuple[NDArray[np.float64], bool] = cho_factor(
                damped, lower=True, overwrite_a=True, check_finite=False
            )
            return factor
        except LinAlgError:
            strength = max(strength * 10, 1e-8 * scale)
            logger.debug("Raising the ridge to %g: not positive definite.", strength / scale)
    return None
