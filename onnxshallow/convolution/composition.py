"""Two convolutions in a row, with nothing between them, as one.

Along one axis, the second convolution's output o reads pixel m = o s2 - p2 + t2 d2 of the first one's output,
which reads the input at m s1 - p1 + t1 d1. Together:

    position = o (s1 s2) - (p1 + s1 p2) + (d1 t1 + s1 d2 t2).

So strides multiply; the pads are p1 + s1 p2 on each side; the taps lie at d1 t1 + s1 d2 t2, on a grid of
gcd(d1, s1 d2), which becomes the dilation; the extent is E1 + s1 (E2 - 1). The weight at a tap is the sum of
W2[t2] @ W1[t1] over the pairs that meet there, and the bias is b2 + sum_t2 W2[t2] b1. Since
(a // s1 + c) // s2 = (a + s1 c) // (s1 s2), the output size is the same for every input size.

The formula lets m run outside the first output, where the second convolution sees its own zeros instead: see
`onnxshallow.convolution.border`. The idea to shorten trained networks in this way is that of *Making Models
Shallow Again* (arXiv 2304.13274).

The channel product is block-diagonal where the groups of both allow it (`onnxshallow.convolution.grouping`):
the composite has gcd(g1, g2) groups.
"""

import itertools
import math

import numpy as np

from onnxshallow.convolution.grid import common_dilation, grid_shape, grid_window, spatial_index
from onnxshallow.convolution.grouping import interior_response, regroup
from onnxshallow.convolution.kernel import Convolution

__all__ = ["compose", "require_chain"]


def compose(first: Convolution, second: Convolution) -> Convolution:
    """The one convolution that equals `second(first(x))` wherever the second one's padding is not seen.

    `onnxshallow.convolution.composes_exactly` says whether that is everywhere. The number of outputs is right for
    every input size.

    Args:
        first: the convolution that is applied first.
        second: the convolution that is applied to the first one's output.

    Returns:
        The composite, with `gcd(first.groups, second.groups)` groups.

    Raises:
        ValueError: if the second does not read what the first writes.
    """
    require_chain(first, second)
    groups = math.gcd(first.groups, second.groups)
    spacings = [s1 * d2 for s1, d2 in zip(first.strides, second.dilations, strict=True)]
    axes = list(zip(first.kernel_shape, first.dilations, second.kernel_shape, spacings, strict=True))
    dilations = tuple(common_dilation(d1 * (k1 > 1), spacing * (k2 > 1)) for k1, d1, k2, spacing in axes)
    extents = [d1 * (k1 - 1) + spacing * (k2 - 1) + 1 for k1, d1, k2, spacing in axes]

    # The second kernel's blocks lie within the common ones, so only the first kernel needs the wider blocks.
    inner = regroup(first, groups).weight
    outer = second.weight.reshape(second.groups, -1, *second.weight.shape[1:])
    rows = inner.reshape(second.groups, outer.shape[2], -1)
    weight = np.zeros((second.out_channels, inner.shape[1], *grid_shape(extents, dilations)))
    for tap in itertools.product(*map(range, second.kernel_shape)):
        starts = [t * spacing for t, spacing in zip(tap, spacings, strict=True)]
        window = grid_window(starts, first.kernel_shape, first.dilations, dilations)
        product = outer[spatial_index(tap)] @ rows
        weight[window] += product.reshape(second.out_channels, *inner.shape[1:])

    return Convolution(
        weight=weight,
        bias=second.bias + interior_response(second, first.bias),
        strides=tuple(s1 * s2 for s1, s2 in zip(first.strides, second.strides, strict=True)),
        dilations=dilations,
        pads_begin=_pads(first.pads_begin, first.strides, second.pads_begin),
        pads_end=_pads(first.pads_end, first.strides, second.pads_end),
        groups=groups,
    )


def require_chain(first: Convolution, second: Convolution) -> None:
    """Refuse two convolutions of which the second cannot read what the first writes.

    Args:
        first: the convolution that is applied first.
        second: the convolution that is applied to the first one's output.

    Raises:
        ValueError: if channels or numbers of spatial axes differ.
    """
    if first.rank != second.rank:
        raise ValueError(f"The first convolution has {first.rank} spatial axes, the second {second.rank}.")
    if first.out_channels != second.in_channels:
        raise ValueError(
            f"The first convolution writes {first.out_channels} channels, the second reads {second.in_channels}."
        )


def _pads(first: tuple[int, ...], strides: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """`p1 + s1 p2` along each axis."""
    return tuple(p1 + s1 * p2 for p1, s1, p2 in zip(first, strides, second, strict=True))
