"""Per-channel affine maps after a convolution (a folded BatchNorm, a linearized ReLU).

scale * (W x + b) + shift = (scale W) x + (scale b + shift), channel by channel: nothing can go wrong. A map *before*
a convolution is another matter, since a tap that sees padding sees zero and not the shift.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxshallow.convolution.kernel import Convolution

__all__ = ["scale_output"]


def scale_output(conv: Convolution, scale: ArrayLike, shift: ArrayLike = 0.0) -> Convolution:
    """The convolution that computes `scale * conv(x) + shift`, exactly.

    Args:
        conv: the convolution.
        scale: `(C_out,)`, or one number for all channels.
        shift: `(C_out,)`, or one number for all channels.

    Returns:
        A convolution of the same geometry.

    Raises:
        ValueError: if `scale` or `shift` has another shape.
    """
    factor = _vector(scale, conv.out_channels, "scale")
    weight = conv.weight * factor.reshape(-1, 1, *(1,) * conv.rank)
    return replace(conv, weight=weight, bias=factor * conv.bias + _vector(shift, conv.out_channels, "shift"))


def _vector(value: ArrayLike, channels: int, name: str) -> NDArray[np.float64]:
    """One number a channel, from such a vector or from a scalar."""
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (channels,)):
        raise ValueError(f"The {name} has shape {array.shape}, but there are {channels} channels.")
    return np.broadcast_to(array, (channels,))
