"""Per-channel affine maps before and after a convolution (a folded BatchNorm, a linearized ReLU).

After it, nothing can go wrong: scale * (W x + b) + shift = (scale W) x + (scale b + shift), channel by
channel.

Before it, W (scale x + shift) = (W scale) x + sum_t W[t] shift, where the sum runs over the taps that see a
pixel. A tap that sees padding sees zero, not `shift`. So the scale is always exact; the shift is a constant
bias wherever the whole kernel lies inside the input, and a constant *map* in general: the convolution of the
constant image `shift`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxshallow.convolution.evaluation import convolve
from onnxshallow.convolution.grouping import interior_response, per_input, tap_response
from onnxshallow.convolution.kernel import Convolution

__all__ = ["input_shift_map", "scale_input", "scale_output"]


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


def scale_input(conv: Convolution, scale: ArrayLike, shift: ArrayLike = 0.0) -> Convolution:
    """The convolution that computes `conv(scale * x + shift)`.

    Exact everywhere if `shift` is zero or `conv` has no padding. Otherwise exact where the whole kernel lies
    inside the input; to be exact at the border too, replace the result's bias by
    `input_shift_map(conv, shift, spatial_in)`.

    Args:
        conv: the convolution.
        scale: `(C_in,)`, or one number for all channels.
        shift: `(C_in,)`, or one number for all channels.

    Returns:
        A convolution of the same geometry.

    Raises:
        ValueError: if `scale` or `shift` has another shape.
    """
    weight = conv.weight * per_input(conv, _vector(scale, conv.in_channels, "scale"))
    constant = interior_response(conv, _vector(shift, conv.in_channels, "shift"))
    return replace(conv, weight=weight, bias=conv.bias + constant)


def input_shift_map(conv: Convolution, shift: ArrayLike, spatial_in: Sequence[int]) -> NDArray[np.float64]:
    """What `conv` makes of the constant image `shift`, its own bias included.

    With it, `conv(scale * x + shift)` is `scale_input(conv, scale)(x)` without bias, plus this map, exactly.
    Every output channel sees the constant image through one number a tap, so this costs no more than a kernel
    with one input channel.

    Args:
        conv: the convolution.
        shift: `(C_in,)`, or one number for all channels.
        spatial_in: spatial size of the input.

    Returns:
        The map, `(C_out, *out)`.

    Raises:
        ValueError: if `shift` has another shape, or the input does not fit the convolution.
    """
    response = tap_response(conv, _vector(shift, conv.in_channels, "shift"))
    seen = replace(conv, weight=response[:, np.newaxis], groups=1)
    image: NDArray[np.float64] = convolve(seen, np.ones((1, 1, *spatial_in)))[0]
    return image


def _vector(value: ArrayLike, channels: int, name: str) -> NDArray[np.float64]:
    """One number a channel, from such a vector or from a scalar."""
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (channels,)):
        raise ValueError(f"The {name} has shape {array.shape}, but there are {channels} channels.")
    return np.broadcast_to(array, (channels,))
