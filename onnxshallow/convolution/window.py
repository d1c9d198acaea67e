"""Another window onto the same kernel: fewer outer taps, or more of them with weight zero.

Tap t sees position o * stride - pad_begin + t * dilation. If `before` taps are dropped at the begin of an
axis, the first tap left is the old tap `before`, so it stays on its pixels if pad_begin is lowered by
before * dilation. The number of outputs stays if pads minus extent stays, so `after` taps dropped at the end
lower pad_end by after * dilation. Negative counts add taps. Pads may become negative: a cut, and right.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxshallow.convolution.grid import spatial_index
from onnxshallow.convolution.kernel import Convolution

__all__ = ["resize_kernel"]


def resize_kernel(conv: Convolution, kernel_shape: Sequence[int]) -> Convolution:
    """Crop a kernel, or surround it with zero taps, about its centre.

    Taps stay on the pixels they see, and the number of outputs stays, for every input size. So a 7x7 kernel
    with stride 2 and pads 3 (a 3x3 with stride 2 after which comes another 3x3) cut to 3x3 has pads 1.

    Where the number of taps to drop is odd, the odd one goes from the side that is padded more, and where the
    number to add is odd, the odd one goes to the side that is padded less, so that the pads come out as even
    as they can. Between equal pads, an even kernel of k taps has its centre at tap k / 2 - 1: the odd tap is
    dropped at the end, or added at the begin.

    Args:
        conv: the convolution.
        kernel_shape: taps wanted along each spatial axis.

    Returns:
        The convolution with that kernel. Growing is exact; cutting drops weights.

    Raises:
        ValueError: if the number of axes is not the convolution's, or a size is below 1.
    """
    if len(kernel_shape) != conv.rank or any(size < 1 for size in kernel_shape):
        raise ValueError(
            f"A kernel of shape {tuple(kernel_shape)} cannot be had: "
            f"the convolution has {conv.rank} spatial axes, with at least one tap each."
        )
    before = []
    for axis, size in enumerate(kernel_shape):
        half, odd = divmod(conv.kernel_shape[axis] - size, 2)
        before.append(half + (odd and conv.pads_begin[axis] > conv.pads_end[axis]))
    after = [old - new - drop for old, new, drop in zip(conv.kernel_shape, kernel_shape, before, strict=True)]
    drops = list(zip(before, after, strict=True))
    grown = np.pad(conv.weight, [(0, 0), (0, 0), *((max(-b, 0), max(-a, 0)) for b, a in drops)])
    starts = [max(drop, 0) for drop in before]
    kept = spatial_index(slice(start, start + size) for start, size in zip(starts, kernel_shape, strict=True))
    return replace(
        conv,
        weight=grown[kept],
        pads_begin=_lowered(conv.pads_begin, before, conv.dilations),
        pads_end=_lowered(conv.pads_end, after, conv.dilations),
    )


def _lowered(pads: Sequence[int], drops: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """Pads after `drops` taps were dropped from their side."""
    return tuple(pad - drop * dilation for pad, drop, dilation in zip(pads, drops, dilations, strict=True))
