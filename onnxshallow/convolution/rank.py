"""A convolution as the product of two of smaller rank."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution.kernel import Convolution

__all__ = ["project", "split"]


def split(convolution: Convolution, rank: int) -> tuple[Convolution, Convolution]:
    """The two convolutions whose composite is the closest of that rank, in the Frobenius norm of the weights.

    The closest matrix of a given rank is the truncated singular value decomposition (Eckart and Young, 1936).

    Args:
        convolution: of one group.
        rank: channels between the two.

    Returns:
        The convolution with the given geometry that writes `rank` channels, and the pointwise one that follows.

    Raises:
        ValueError: there are groups, or the rank is not between 1 and the number of output channels.
    """
    if convolution.groups != 1:
        raise ValueError(f"A convolution of {convolution.groups} groups is not split.")
    if not 1 <= rank <= convolution.out_channels:
        raise ValueError(f"A rank of {rank} is not between 1 and {convolution.out_channels}.")
    weight = convolution.weight.reshape(convolution.out_channels, -1)
    directions = np.linalg.svd(weight, full_matrices=False)[0][:, :rank]
    if directions.shape[1] < rank:
        raise ValueError(f"A rank of {rank} is more than the {weight.shape[1]} inputs under the kernel.")
    return project(convolution, directions, convolution.bias)


def project(
    convolution: Convolution, directions: NDArray[np.float64], mean: NDArray[np.float64]
) -> tuple[Convolution, Convolution]:
    """`convolution` with its outputs projected: y becomes V V'(y - mean) + mean.

    Args:
        convolution: of one group, with N output channels.
        directions: V, (N, rank), with orthonormal columns.
        mean: (N,) the point that the projection leaves where it is.

    Returns:
        The convolution that computes V'(y - mean), and the pointwise one that computes V z + mean.
    """
    weight = np.tensordot(directions.T, convolution.weight, axes=1)
    narrow = replace(convolution, weight=weight, bias=directions.T @ (convolution.bias - mean))
    wide = Convolution.of(directions.reshape(*directions.shape, *(1,) * convolution.rank), mean)
    return narrow, wide
