"""Matrix products over many rows: float32 blocks, summed in float64.

Sums of squares and products are made about a mean, and what that leaves out is added in float64: of numbers that vary
little about a large mean, single precision would else lose what varies.

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
# A part of a block about its mean takes so many bytes at the most, so that it stays at hand, and has so many rows.
_MOST_BYTES, _LEAST_ROWS = 1 << 20, 256


def blocks(rows: int) -> list[slice]:
    """All rows, some thousand at a time."""
    return [slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]


def gram(x: NDArray[np.float32], sums: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """X'x for each group.

    Args:
        x: (groups, rows, unknowns).
        sums: of the rows, (groups, unknowns), where they are known.

    Returns:
        (groups, unknowns, unknowns); only the lower triangle is meant.
    """
    groups, rows, unknowns = x.shape
    centre = _centre(x)
    total = np.zeros((groups, unknowns, unknowns))
    if unknowns <= _SMALL:

        def squares(block: slice) -> NDArray[np.float32]:
            part = x[:, block] - centre[:, np.newaxis]
            made: NDArray[np.float32] = part.transpose(0, 2, 1) @ part
            return made

        for part in in_order(squares, blocks(rows)):
            total += part
    else:
        from scipy.linalg.blas import ssyrk

        step = max(_LEAST_ROWS, _MOST_BYTES // (4 * unknowns))

        def square(place: tuple[int, slice]) -> NDArray[np.float32]:
            group, block = place
            made = np.zeros((unknowns, unknowns), np.float32, order="F")
            for start in range(block.start, block.stop, step):
                part = x[group, start : min(start + step, block.stop)] - centre[group]
                # upper triangle of a Fortran matrix: the lower one of the C matrix that it is the transpose of
                made = ssyrk(1.0, part.T, beta=1.0, c=made, lower=0, overwrite_c=1)
            return made.T

        for group in range(groups):
            for part in in_order(square, [(group, block) for block in blocks(rows)], 4 * unknowns**2):
                total[group] += part
    sums = x.sum(axis=1, dtype=np.float64) if sums is None else sums
    for squared, summed, middle in zip(total, sums, centre.astype(np.float64), strict=True):
        mixed = np.outer(middle, summed - rows / 2 * middle)
        squared += mixed + mixed.T
    return total


def cross_product(
    x: NDArray[np.float32], y: NDArray[np.float32], sums: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """X'y for each group.

    Args:
        x: (groups, rows, unknowns).
        y: (groups, rows, outputs).
        sums: of the rows of x, (groups, unknowns), where they are known.

    Returns:
        (groups, unknowns, outputs).
    """
    groups, rows, unknowns = x.shape
    centre = _centre(y)
    total = np.zeros((groups, unknowns, y.shape[2]))
    if unknowns <= _SMALL:

        def products(block: slice) -> NDArray[np.float32]:
            made: NDArray[np.float32] = x[:, block].transpose(0, 2, 1) @ (y[:, block] - centre[:, np.newaxis])
            return made

        for part in in_order(products, blocks(rows)):
            total += part
    else:
        from scipy.linalg.blas import sgemm

        def product(place: tuple[int, slice]) -> NDArray[np.float32]:
            made: NDArray[np.float32] = sgemm(1.0, (y[place] - centre[place[0]]).T, x[place].T, trans_b=1).T
            return made

        for group in range(groups):
            places = [(group, block) for block in blocks(rows)]
            for part in in_order(product, places, 4 * unknowns * y.shape[2]):
                total[group] += part
    sums = x.sum(axis=1, dtype=np.float64) if sums is None else sums
    total += sums[:, :, np.newaxis] * centre[:, np.newaxis].astype(np.float64)
    return total


def _centre(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """About the mean of each column of (groups, rows, columns), (groups, columns): that of the leading rows."""
    leading = x[:, :_BLOCK]
    mean: NDArray[np.float64] = leading.sum(axis=1, dtype=np.float64) / max(leading.shape[1], 1)
    return mean.astype(np.float32)


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
