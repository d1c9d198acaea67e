"""A convolution and a shortcut around it as one convolution.

Output o of a convolution reads the input at o * stride - pad_begin + t * dilation. With equal strides two
convolutions can be added tap by tap, once their taps are named by the pixel they see: the offsets from
o * stride run from -pad_begin to -pad_begin + extent - 1. The sum needs the union of both windows, on
a grid that holds the taps of both: the greatest common divisor of both dilations and of the distance between
the two first taps.

The union begins max(pad_begin) before o * stride. As to the end, the output size
(n + pads - extent) // stride + 1 is the same for every n only if `pads - extent` is the same for both. Then
pad_end - (offset of the last tap) is the same too, so the one that reaches further has the larger `pad_end`,
and the sum has the larger of the two.

An identity shortcut is `identity(channels, rank)`, a projection its own 1x1 convolution, an average pooling
that counts its padding the depthwise kernel of 1 / taps. The sum of both is exact everywhere.
"""

import math

import numpy as np

from onnxshallow.convolution.grid import common_dilation, grid_shape, grid_window
from onnxshallow.convolution.grouping import regroup
from onnxshallow.convolution.kernel import Convolution

__all__ = ["add_shortcut"]


def add_shortcut(conv: Convolution, shortcut: Convolution) -> Convolution:
    """The convolution that computes `conv(x) + shortcut(x)`, exactly.

    Args:
        conv: a convolution, as a rule the composite of a residual block's body.
        shortcut: what the block adds, a convolution of the same input.

    Returns:
        The sum, with `gcd(conv.groups, shortcut.groups)` groups.

    Raises:
        ValueError: if channels, number of axes or strides differ, or if there is an input size for which the
            two outputs have different sizes.
    """
    _require_sum(conv, shortcut)
    pads_begin = tuple(map(max, conv.pads_begin, shortcut.pads_begin))
    terms = (conv, shortcut)
    starts = [[pad - own for pad, own in zip(pads_begin, term.pads_begin, strict=True)] for term in terms]
    dilations, extents = [], []
    for axis in range(conv.rank):
        distances = [start[axis] for start in starts]
        spacings = [term.dilations[axis] * (term.kernel_shape[axis] > 1) for term in terms]
        dilations.append(common_dilation(*distances, *spacings))
        extents.append(max(start[axis] + term.extent[axis] for start, term in zip(starts, terms, strict=True)))

    groups = math.gcd(conv.groups, shortcut.groups)
    shape = grid_shape(extents, dilations)
    weight = np.zeros((conv.out_channels, conv.in_channels // groups, *shape))
    for start, term in zip(starts, terms, strict=True):
        window = grid_window(start, term.kernel_shape, term.dilations, dilations)
        weight[window] += regroup(term, groups).weight
    return Convolution(
        weight=weight,
        bias=conv.bias + shortcut.bias,
        strides=conv.strides,
        dilations=tuple(dilations),
        pads_begin=pads_begin,
        pads_end=tuple(map(max, conv.pads_end, shortcut.pads_end)),
        groups=groups,
    )


def _require_sum(conv: Convolution, shortcut: Convolution) -> None:
    """Refuse two convolutions whose outputs cannot be added for every input."""
    if conv.rank != shortcut.rank:
        raise ValueError(f"The convolution has {conv.rank} spatial axes, its shortcut {shortcut.rank}.")
    for what in ("in_channels", "out_channels", "strides"):
        mine, other = getattr(conv, what), getattr(shortcut, what)
        if mine != other:
            raise ValueError(f"The convolution has {what} {mine}, its shortcut has {other}: they cannot be added.")
    shrinkages = [
        tuple(e - b - p for e, b, p in zip(term.extent, term.pads_begin, term.pads_end, strict=True))
        for term in (conv, shortcut)
    ]
    if shrinkages[0] != shrinkages[1]:
        raise ValueError(
            f"Extent minus padding is {shrinkages[0]} for the convolution and {shrinkages[1]} for its "
            "shortcut, so their output sizes differ for some input sizes."
        )
