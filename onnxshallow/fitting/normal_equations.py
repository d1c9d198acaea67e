"""The sums of a ridge regression over its rows, and its solution.

With S_xx and S_xt the centred sums, d the mean diagonal of S_xx and W0 the weights that the ridge is centred on,

    W = W0 + (S_xx + lambda d I)^-1 (S_xt - S_xx W0),        b = mean t - W mean x.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.fitting.products import cross_product, gram

__all__ = ["Centred", "Factor", "Products", "System", "factorise"]

logger = logging.getLogger(__name__)

# A variance below this share of the mean square is what float32 sums leave of a constant.
_NOISE = 2e-5

Factor = tuple[NDArray[np.float64], bool]


@dataclass(eq=False)
class Products:
    """Sums over the rows that depend on the targets: X't (groups, unknowns, outputs) and the sum of t."""

    cross: NDArray[np.float64]
    sums: NDArray[np.float64]

    @classmethod
    def of(
        cls, patches: NDArray[np.float32], targets: NDArray[np.float32], sums: NDArray[np.float64] | None = None
    ) -> "Products":
        """Sums over patches (groups, rows, unknowns) and targets (groups, rows, outputs); `sums` of the former."""
        return cls(cross_product(patches, targets, sums), targets.sum(axis=1, dtype=np.float64))


@dataclass(eq=False)
class System:
    """The sums of the normal equations over some rows.

    `gram` holds the lower triangles of X'X.
    """

    count: int
    sums: NDArray[np.float64]
    gram: NDArray[np.float64]
    products: Products

    @classmethod
    def of(cls, patches: NDArray[np.float32], targets: NDArray[np.float32]) -> "System":
        """Sums over patches (groups, rows, unknowns) and targets (groups, rows, outputs)."""
        sums = patches.sum(axis=1, dtype=np.float64)
        return cls(patches.shape[1], sums, gram(patches, sums), Products.of(patches, targets, sums))

    def add(self, other: "System") -> None:
        """Take in the sums over further rows."""
        self.count += other.count
        self.sums += other.sums
        self.gram += other.gram
        self.products.cross += other.products.cross
        self.products.sums += other.products.sums

    def outputs(self, which: slice) -> "System":
        """The system of some outputs only."""
        products = Products(self.products.cross[:, :, which], self.products.sums[:, which])
        return replace(self, products=products)

    def centred(self, start: NDArray[np.float64]) -> list["Centred | None"]:
        """The left-hand sides by group, for a ridge that is centred on `start` (groups, outputs, unknowns).

        None for a group whose input does not vary or is not finite.
        """
        from scipy.linalg.blas import dsymm

        result: list[Centred | None] = []
        for total, sums, weight in zip(self.gram, self.sums, start, strict=True):
            mean = sums / max(self.count, 1)
            s_xx = total - np.outer(mean, sums)
            varies = np.trace(s_xx) > _NOISE * np.trace(total)
            result.append(Centred(mean, s_xx, dsymm(1.0, s_xx, weight.T, lower=1)) if varies else None)
        return result

    def solve(
        self,
        sides: list["Centred | None"],
        factors: list[Factor | None],
        products: Products,
        start: NDArray[np.float64],
        given: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (groups, outputs, unknowns) and biases (groups, outputs).

        `start` and `given` are the weights and biases that a group without a factor keeps.
        """
        from scipy.linalg import cho_solve

        weight, bias = start.copy(), given.copy()
        for group, (side, factor) in enumerate(zip(sides, factors, strict=True)):
            if side is None or factor is None:
                continue
            s_xt = products.cross[group] - np.outer(side.mean, products.sums[group])
            weight[group] = start[group] + cho_solve(factor, s_xt - side.explained, check_finite=False).T
            bias[group] = products.sums[group] / self.count - weight[group] @ side.mean
        return weight, bias


@dataclass(frozen=True, eq=False)
class Centred:
    """One group's left-hand side: the inputs' mean, S_xx (lower triangle) and S_xx W0."""

    mean: NDArray[np.float64]
    s_xx: NDArray[np.float64]
    explained: NDArray[np.float64]


def factorise(side: Centred | None, ridge: float) -> Factor | None:
    """The Cholesky factor of S_xx + ridge d I."""
    from scipy.linalg import LinAlgError, cho_factor

    if side is None:
        return None
    s_xx = side.s_xx
    unknowns = len(s_xx)
    scale = float(np.trace(s_xx)) / unknowns
    strength = ridge * scale
    while strength < 1e6 * scale:
        damped = s_xx.copy()
        damped[np.diag_indices(unknowns)] += strength
        try:
            factor: Factor = cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
            return factor
        except LinAlgError:
            strength = max(strength * 10, 1e-8 * scale)
            logger.debug("Raising the ridge to %g: not positive definite.", strength / scale)
    return None
