"""Input patches of a convolution, the rows of its regression."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from onnxshallow.convolution import Convolution

__all__ = ["gather_outputs", "gather_patches", "sample_positions", "weight_columns", "with_weight_columns"]

# Channels are laid side by side first unless less than a part in so many of the input is read.
_RATHER_ALL = 3


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
    groups, each = convolution.groups, channels // convolution.groups
    if convolution.rank == 0:
        rows = x.reshape(count, groups, each).swapaxes(0, 1)
        return _written(rows, into)
    windows = _windows(_padded(x, convolution, last=not _are_few(x, convolution, positions)), convolution)
    if positions is not None:
        places = np.unravel_index(positions, windows.shape[2 : 2 + convolution.rank])
        taken: tuple[Any, ...] = (slice(None), slice(None), *places)
        windows = windows[taken]
    if into is None:
        taps = int(np.prod(convolution.kernel_shape))
        into = np.empty((groups, windows.size // (channels * taps), taps * each), dtype=np.float32)
    into.reshape(windows.shape)[...] = windows
    return into


def _are_few(x: np.ndarray, convolution: Convolution, positions: np.ndarray | None) -> bool:
    """Whether so little is read that laying the channels of each pixel side by side first does not pay."""
    taps = int(np.prod(convolution.kernel_shape))
    return positions is not None and taps * len(positions) * _RATHER_ALL < int(np.prod(x.shape[2:]))


def _windows(padded: np.ndarray, convolution: Convolution) -> np.ndarray:
    """The inputs under the kernel at every output position, (groups, N, *out, *kernel, C / groups), as a view."""
    count, channels = padded.shape[:2]
    each = channels // convolution.groups
    steps = padded.strides
    reach = zip(padded.shape[2:], convolution.extent, convolution.strides, strict=True)
    out = [(size - extent) // stride + 1 for size, extent, stride in reach]
    outer = [step * stride for step, stride in zip(steps[2:], convolution.strides, strict=True)]
    inner = [step * dilation for step, dilation in zip(steps[2:], convolution.dilations, strict=True)]
    return as_strided(
        padded,
        (convolution.groups, count, *out, *convolution.kernel_shape, each),
        (steps[1] * each, steps[0], *outer, *inner, steps[1]),
        writeable=False,
    )


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


def _padded(x: np.ndarray, convolution: Convolution, *, last: bool) -> np.ndarray:
    """The input with its padding, in float32; negative pads cut from it.

    Args:
        x: (N, C, *spatial).
        convolution: whose pads apply.
        last: lay the channels of a pixel side by side in memory; the order of the axes stays.
    """
    begin, end = convolution.pads_begin, convolution.pads_end
    cut = [slice(max(-a, 0), size - max(-b, 0)) for a, b, size in zip(begin, end, x.shape[2:], strict=True)]
    x = x[(slice(None), slice(None), *cut)]
    added = [(max(a, 0), max(b, 0)) for a, b in zip(begin, end, strict=True)]
    if not last and not np.any(added):
        return x.astype(np.float32, copy=False)
    count, channels, *sizes = x.shape
    sizes = [size + sum(pads) for size, pads in zip(sizes, added, strict=True)]
    shape = (count, *sizes, channels) if last else (count, channels, *sizes)
    padded = (np.zeros if np.any(added) else np.empty)(shape, dtype=np.float32)
    result = np.moveaxis(padded, -1, 1) if last else padded
    inner = [slice(a, size - b) for (a, b), size in zip(added, sizes, strict=True)]
    result[(slice(None), slice(None), *inner)] = x
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
