"""Groups: a grouped convolution is a dense one whose channel matrix is block-diagonal.

With g groups, output channels [j * C_out / g, (j + 1) * C_out / g) read the input channels of block j alone.
Blocks can be joined, so a convolution with g groups is also one with h groups for every h that divides g, h =
1 being the dense form. Two partitions of the same channels, into g1 and g2 equal blocks, have gcd(g1, g2)
blocks in common: the boundaries they share are the multiples of lcm(C / g1, C / g2) = C / gcd(g1, g2).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution.kernel import Convolution

__all__ = ["dense", "interior_response", "regroup"]


def regroup(conv: Convolution, groups: int) -> Convolution:
    """Write a convolution with fewer groups; the channels joined to a block get weight zero.

    Args:
        conv: the convolution.
        groups: the number of groups wanted, a divisor of the present one.

    Returns:
        The same function, with `weight` of shape `(C_out, C_in / groups, *kernel)`.

    Raises:
        ValueError: if `groups` does not divide the present number of groups.
    """
    if groups < 1 or conv.groups % groups:
        raise ValueError(f"A convolution with {conv.groups} groups cannot be written with {groups}.")
    if groups == conv.groups:
        return conv
    joined = conv.groups // groups
    block = conv.weight.reshape(groups, joined, -1, *conv.weight.shape[1:])
    weight = np.zeros((*block.shape[:3], joined, *block.shape[3:]))
    for index in range(joined):
        weight[:, index, :, index] = block[:, index]
    shape = (conv.out_channels, conv.in_channels // groups, *conv.kernel_shape)
    return replace(conv, weight=weight.reshape(shape), groups=groups)


def dense(conv: Convolution) -> Convolution:
    """Write a convolution without groups.

    Args:
        conv: the convolution.

    Returns:
        The same function with `groups == 1` and `weight` of shape `(C_out, C_in, *kernel)`.
    """
    return regroup(conv, 1)


def interior_response(conv: Convolution, vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """What all taps together contribute when every pixel of the input is `vector`, away from any padding.

    Args:
        conv: the convolution.
        vector: `(C_in,)`.

    Returns:
        `(C_out,)`.
    """
    blocks = vector.reshape(conv.groups, -1)
    rows = np.repeat(blocks, conv.out_channels // conv.groups, axis=0)
    per_tap = np.sum(conv.weight * rows.reshape(*rows.shape, *(1,) * conv.rank), axis=1)
    response: NDArray[np.float64] = per_tap.reshape(conv.out_channels, -1).sum(axis=1)
    return response
