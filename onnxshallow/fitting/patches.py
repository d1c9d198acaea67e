"""Input patches of a convolution, the rows of its regression."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxshallow.convolution import Convolution

__all__ = ["gather_outputs", "gather_patches", "sample_positions", "weight_columns", "with_weight_columns"]


def sample_positions(sizes: Sequence[int], share: float, generator: np.random.Generator) -> np.ndarray | None:
    """Output positions to take, as flat indices into the spatial axes; None for all of them.

    Args:
        sizes: spatial sizes of the output.
        share: which part of the positions is wanted, in (0, 1].
        generator: draws them without replacement, so that borders are met as often as they occur.
    """
    total = int(np.prod(sizes, dtype=np.int64))
    count = max(1, round(total * share))
    if count >= total:
        return None
    return np.sort(generator.choice(total, size=count, replace=False))


def gather_patches(
    x: np.ndarray, convolution: Convolution, positions: np.ndarray | None, into: np.ndarray | None = None
) -> np.ndarray:
    """The inputs under the kernel at each output position, padding included.

    Args:
        x: the layer's input (N, C, *spatial).
        convolution: whose kernel, strides, dilations, pads and groups apply.
        positions: flat output positions, or None for all.
        into: an array of the result's shape to write to, or None for a new one.

    Returns:
        (groups, N * positions, taps * C / groups) in float32. The channels of a tap lie side by side, so that a
        pixel is copied as a whole; `weight_columns` orders weights alike.
    """
    count, channels = x.shape[:2]
    groups = convolution.groups
    if convolution.rank == 0:
        rows = x.reshape(count, groups, channels // groups).swapaxes(0, 1)
        return _written(rows, into)
    padded = _padded(x, convolution)
    sizes = padded.shape[2:]
    pixels = np.ascontiguousarray(np.moveaxis(padded, 1, -1), dtype=np.float32).reshape(count, -1, channels)
    out = [
        (size - extent) // stride + 1
        for size, extent, stride in zip(sizes, convolution.extent, convolution.strides, strict=True)
    ]
    flat = np.arange(int(np.prod(out))) if positions is None else positions
    corners = [index * stride for index, stride in zip(np.unravel_index(flat, out), convolution.strides, strict=True)]
    taps = list(np.ndindex(*convolution.kernel_shape))
    if into is None:
        into = np.empty((groups, count * len(flat), len(taps) * (channels // groups)), dtype=np.float32)
    by_tap = np.moveaxis(into.reshape(groups, count, len(flat), len(taps), channels // groups), 0, 3)
    for number, tap in enumerate(taps):
        place = [
            corner + step * dilation
            for corner, step, dilation in zip(corners, tap, convolution.dilations, strict=True)
        ]
        taken = pixels[:, np.ravel_multi_index(place, sizes)]
        by_tap[:, :, number] = taken.reshape(count, len(flat), groups, -1)
    return into


def weight_columns(convolution: Convolution) -> np.ndarray:
    """The weights in the order of the patches' columns, (groups, outputs, taps * C / groups)."""
    weight = convolution.weight
    outputs, inputs = weight.shape[:2]
    groups = convolution.groups
    return np.ascontiguousarray(
        weight.reshape(groups, outputs // groups, inputs, -1).swapaxes(2, 3).reshape(groups, outputs // groups, -1)
    )


def with_weight_columns(convolution: Convolution, columns: np.ndarray, bias: np.ndarray) -> Convolution:
    """`convolution` with other weights, given as `weight_columns` returns them, and biases (groups, outputs)."""
    outputs, inputs = convolution.weight.shape[:2]
    weight = columns.reshape(outputs, -1, inputs).swapaxes(1, 2).reshape(convolution.weight.shape)
    return replace(convolution, weight=weight, bias=bias.reshape(-1))


def _padded(x: np.ndarray, convolution: Convolution) -> np.ndarray:
    """The input with its padding; negative pads cut from it."""
    begin, end = convolution.pads_begin, convolution.pads_end
    padding = [(max(a, 0), max(b, 0)) for a, b in zip(begin, end, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    sizes = padded.shape[2:]
    inner = [slice(max(-a, 0), size - max(-b, 0)) for a, b, size in zip(begin, end, sizes, strict=True)]
    result: np.ndarray = padded[(slice(None), slice(None), *inner)]
    return result


def gather_outputs(
    y: np.ndarray, groups: int, positions: np.ndarray | None, into: np.ndarray | None = None
) -> np.ndarray:
    """Outputs (N, C, *spatial) at `positions` as (groups, N * positions, C / groups) in float32."""
    count, channels = y.shape[:2]
    flat = y.reshape(count, groups, channels // groups, -1)
    if positions is not None:
        flat = flat[..., positions]
    rows = flat.transpose(1, 0, 3, 2)
    return _written(rows.reshape(groups, -1, channels // groups), into)


def _written(rows: np.ndarray, into: np.ndarray | None) -> np.ndarray:
    if into is None:
        return np.ascontiguousarray(rows, dtype=np.float32)
    into[...] = rows
    return into
