"""What a convolution makes of an input: output size, and the output itself.

The evaluation is the definition written down, one matrix product over channels a tap:

    y[o] = bias + sum_t W[t] @ x[o * stride - pad_begin + t * dilation].

It is meant as an oracle and for small work; networks are run by onnxruntime.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxshallow.convolution.grid import progression, spatial_index
from onnxshallow.convolution.kernel import Convolution

__all__ = ["convolve", "output_size"]


def output_size(conv: Convolution, spatial: Sequence[int]) -> tuple[int, ...]:
    """Spatial size of the output: `(n + pads - extent) // stride + 1` along each axis.

    Args:
        conv: the convolution.
        spatial: spatial size of the input, one int an axis.

    Returns:
        Spatial size of the output, one int an axis.

    Raises:
        ValueError: if the number of axes is not the convolution's, or the input is too small for one output.
    """
    spans = _spans(conv, spatial)
    if any(span < 0 for span in spans):
        raise ValueError(
            f"An input of spatial size {tuple(spatial)} is too small for a kernel of extent {conv.extent} "
            f"with pads {conv.pads_begin} and {conv.pads_end}."
        )
    return tuple(span // stride + 1 for span, stride in zip(spans, conv.strides, strict=True))


def convolve(conv: Convolution, x: ArrayLike) -> NDArray[np.float64]:
    """Apply a convolution.

    Args:
        conv: the convolution.
        x: input, `(N, C_in, *spatial)`, of any real dtype.

    Returns:
        The output, `(N, C_out, *out)`, computed in float64.

    Raises:
        ValueError: if the input does not fit the convolution.
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != conv.rank + 2 or values.shape[1] != conv.in_channels:
        raise ValueError(
            f"An input of shape {values.shape} does not fit a convolution that reads "
            f"{conv.in_channels} channels and {conv.rank} spatial axes."
        )
    size = output_size(conv, values.shape[2:])
    padded = _pad(conv, values)
    samples, groups = len(values), conv.groups
    weight = conv.weight.reshape(groups, -1, *conv.weight.shape[1:])
    result = np.zeros((samples, groups, weight.shape[1], math.prod(size)))
    for tap in itertools.product(*map(range, conv.kernel_shape)):
        geometry = zip(tap, conv.dilations, size, conv.strides, strict=True)
        seen = spatial_index(progression(t * dilation, count, stride) for t, dilation, count, stride in geometry)
        pixels = padded[seen].reshape(samples, groups, weight.shape[2], math.prod(size))
        result += weight[spatial_index(tap)] @ pixels
    return result.reshape(samples, conv.out_channels, *size) + conv.bias.reshape(-1, *(1,) * conv.rank)


def _spans(conv: Convolution, spatial: Sequence[int]) -> tuple[int, ...]:
    """How far the kernel can be moved over the padded input, along each axis; negative if it does not fit."""
    if len(spatial) != conv.rank:
        raise ValueError(f"A spatial size of {tuple(spatial)} is given, but {conv.rank} axes are convolved.")
    geometry = zip(spatial, conv.pads_begin, conv.pads_end, conv.extent, strict=True)
    return tuple(n + begin + end - extent for n, begin, end, extent in geometry)


def _pad(conv: Convolution, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zeros for positive pads, then a cut for negative ones; at the end nothing reads what would be cut."""
    widths = [(max(begin, 0), max(end, 0)) for begin, end in zip(conv.pads_begin, conv.pads_end, strict=True)]
    padded = np.pad(values, [(0, 0), (0, 0), *widths])
    return padded[spatial_index(slice(max(-begin, 0), None) for begin in conv.pads_begin)]
