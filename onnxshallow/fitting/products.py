"""Matrix products over many rows: float32 blocks, summed in float64.

The large ones go through scipy's BLAS, as the factorisations do. numpy brings a BLAS of its own with its own threads,
and two sets of threads that wait actively for work cost more than either computes. For the same reason small work
is done by one thread: on a busy machine, several that wait for each other take many times as long.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["blas_threads", "cross_product", "gram", "predict"]

_BLOCK = 16384
# Per group; smaller products are left to numpy, which multiplies all groups in one call.
_SMALL = 64
# Multiply-adds of a regression below which one thread does.
_ONE_THREAD = 4e9


def blas_threads(rows: int, unknowns: int, groups: int) -> AbstractContextManager[Any]:
    """Limit the BLAS to one thread for a small regression; leave it alone for a large one."""
    if float(groups) * rows * unknowns**2 + float(groups) * unknowns**3 > _ONE_THREAD:
        return nullcontext()
    limit: AbstractContextManager[Any] = _blas().limit(limits=1)
    return limit


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  loads the libraries that are looked for
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def gram(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """X'x for each group.

    Args:
        x: (groups, rows, unknowns).

    Returns:
        (groups, unknowns, unknowns); only the lower triangle is meant.
    """
    groups, rows, unknowns = x.shape
    total = np.zeros((groups, unknowns, unknowns))
    if unknowns <= _SMALL:
        for start in range(0, rows, _BLOCK):
            block = x[:, start : start + _BLOCK]
            total += block.transpose(0, 2, 1) @ block
        return total
    from scipy.linalg.blas import ssyrk

    for group in range(groups):
        for start in range(0, rows, _BLOCK):
            # upper triangle of a Fortran matrix: the lower one of the C matrix that it is the transpose of
            total[group] += ssyrk(1.0, x[group, start : start + _BLOCK].T, lower=0).T
    return total


def cross_product(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """X'y for each group: (groups, unknowns, outputs) from (groups, rows, unknowns) and (groups, rows, outputs)."""
    groups, rows, unknowns = x.shape
    total = np.zeros((groups, unknowns, y.shape[2]))
    if unknowns <= _SMALL:
        for start in range(0, rows, _BLOCK):
            block = slice(start, start + _BLOCK)
            total += x[:, block].transpose(0, 2, 1) @ y[:, block]
        return total
    from scipy.linalg.blas import sgemm

    for group in range(groups):
        for start in range(0, rows, _BLOCK):
            block = slice(start, start + _BLOCK)
            total[group] += sgemm(1.0, y[group, block].T, x[group, block].T, trans_b=1).T
    return total


def predict(x: NDArray[np.float32], weight: NDArray[np.float64], bias: NDArray[np.float64]) -> NDArray[np.float32]:
    """X w' + b for each group.

    Args:
        x: (groups, rows, unknowns).
        weight: (groups, outputs, unknowns).
        bias: (groups, outputs).

    Returns:
        (groups, rows, outputs).
    """
    groups, rows, unknowns = x.shape
    if unknowns <= _SMALL:
        result: NDArray[np.float32] = x @ weight.transpose(0, 2, 1).astype(np.float32)
    else:
        from scipy.linalg.blas import sgemm

        result = np.empty((groups, rows, weight.shape[1]), dtype=np.float32)
        for group in range(groups):
            result[group] = sgemm(1.0, weight[group].astype(np.float32).T, x[group].T, trans_a=1).T
    result += bias[:, np.newaxis, :].astype(np.float32)
    return result
