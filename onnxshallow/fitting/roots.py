"""The root of a covariance that rounding may have spoilt."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["root"]


def root(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower Cholesky factor of a covariance, with a larger diagonal where rounding made it indefinite."""
    from scipy.linalg import cholesky

    size = max(float(np.trace(spread)) / len(spread), 1e-30)
    for added in (0.0, 1e-8, 1e-6, 1e-4):
        try:
            found: NDArray[np.float64] = cholesky(spread + added * size * np.eye(len(spread)), lower=True)
        except np.linalg.LinAlgError:
            continue
        return found
    return np.diag(np.full(len(spread), np.sqrt(size)))  # as if all that is read varied alike
