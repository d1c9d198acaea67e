"""Fit a layer that was split in two: reduced-rank regression.

The best rank-r answer to min |T - P W V' - 1 m'| spends its r dimensions on the principal directions V of what the
inputs explain (Izenman, 1975). A trained layer explains its own outputs, so these are nearly the principal directions
of the targets T themselves: the first convolution is fitted to V'(t - mean), and the second, which starts as
V z + mean, is fitted after it like any other layer. This is the response reconstruction of Zhang et al.
(arXiv 1505.06798), with the inputs of the *rewritten* network.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution import Convolution, project, split
from onnxshallow.fitting.regression import Rows, regress

__all__ = ["fit_bottleneck", "principal_directions"]


def fit_bottleneck(
    whole: Convolution, rank: int, rows: Rows, ridge: float, *, few: bool = False
) -> tuple[Convolution, Convolution]:
    """The two convolutions of rank `rank` in place of `whole`.

    Args:
        whole: the convolution that was split, or the composite of its parts; what the fit starts from.
        rank: channels between the two.
        rows: (1, rows, unknowns) patches, and (1, rows, N) targets of the sum that follows the second.
        ridge: strength of the ridge, see `regress`.
        few: whether the rows are too few to fit the first convolution on; it is then `whole` projected.

    Returns:
        The two, finite in any case: where targets are not, the closest of that rank to `whole`.
    """
    wanted = rows.residual_targets()[0]
    if not np.all(np.isfinite(wanted)):
        return split(whole, rank)
    mean, directions = principal_directions(wanted, rank, whole.weight.reshape(whole.out_channels, -1))
    narrow, wide = project(whole, directions, mean)
    if few:
        return narrow, wide
    scores = ((wanted - mean.astype(np.float32)) @ directions.astype(np.float32))[np.newaxis]
    return regress(narrow, replace(rows, targets=scores, offsets=None, free_scale=False), ridge).convolution, wide


def principal_directions(
    values: NDArray[np.float32], rank: int, weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (N,) and `rank` orthonormal directions (N, rank) in which values vary most.

    The covariance is shrunk towards that of white inputs where rows are few.

    Args:
        values: (rows, N).
        rank: number of directions.
        weight: (N, unknowns) what makes the values out of the inputs.
    """
    rows, outputs = values.shape
    mean = values.mean(axis=0, dtype=np.float64)
    centred = values - mean.astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64)
    prior = weight @ weight.T
    scale = max(float(np.trace(covariance)), 1e-30) / max(float(np.trace(prior)), 1e-30)
    covariance += (outputs / rows) ** 2 * scale * prior
    return mean, np.linalg.eigh(covariance)[1][:, ::-1][:, :rank]
