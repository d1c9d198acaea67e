"""Matrix products over many rows: float32 blocks, summed in float64.

The large ones go through scipy's BLAS, as the factorisations do. numpy brings a BLAS of its own with its own threads,
and two sets of threads that wait actively for work cost more than either computes. The blocks are the same for any
number of threads, and so are the sums.
"""

import numpy as np
from numpy.typing import NDArray

from onnxshallow.fitting.threads import in_order

__all__ = ["blocks", "cross_product", "gram", "predict"]

_BLOCK = 8192
# Per group; smaller products are left to numpy, which multiplies all groups in one call.
_SMALL = 64


def blocks(rows: int) -> list[slice]:
    """All rows, some thousand at a time."""
    return [slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]


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
        for part in in_order(lambda block: x[:, block].transpose(0, 2, 1) @ x[:, block], blocks(rows)):
            total += part
        return total
    from scipy.linalg.blas import ssyrk

    def square(place: tuple[int, slice]) -> NDArray[np.float32]:
        # upper triangle of a Fortran matrix: the lower one of the C matrix that it is the transpose of
        result: NDArray[np.float32] = ssyrk(1.0, x[place].T, lower=0).T
        return result

    for group in range(groups):
        for part in in_order(square, [(group, block) for block in blocks(rows)], 4 * unknowns**2):
            total[group] += part
    return total


def cross_product(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """X'y for each group: (groups, unknowns, outputs) from (groups, rows, unknowns) and (groups, rows, outputs)."""
    groups, rows, unknowns = x.shape
    total = np.zeros((groups, unknowns, y.shape[2]))
    if unknowns <= _SMALL:
        for part in in_order(lambda block: x[:, block].transpose(0, 2, 1) @ y[:, block], blocks(rows)):
            total += part
        return total
    from scipy.linalg.blas import sgemm

    def product(place: tuple[int, slice]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = sgemm(1.0, y[place].T, x[place].T, trans_b=1).T
        return result

    for group in range(groups):
        places = [(group, block) for block in blocks(rows)]
        for part in in_order(product, places, 4 * unknowns * y.shape[2]):
            total[group] += part
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
    single = weight.astype(np.float32)
    result = np.empty((groups, rows, weight.shape[1]), dtype=np.float32)
    if unknowns <= _SMALL:

        def fill(block: slice) -> None:
            np.matmul(x[:, block], single.transpose(0, 2, 1), out=result[:, block])

        list(in_order(fill, blocks(rows)))
    else:
        from scipy.linalg.blas import sgemm

        def fill_group(place: tuple[int, slice]) -> None:
            result[place] = sgemm(1.0, single[place[0]].T, x[place].T, trans_a=1).T

        list(in_order(fill_group, [(group, block) for group in range(groups) for block in blocks(rows)]))
    result += bias[:, np.newaxis, :].astype(np.float32)
    return result
