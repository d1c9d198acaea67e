"""Input patches of a convolution, the rows of its regression."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxshallow.convolution import Convolution

__all__ = ["gather_outputs", "gather_patches", "sample_positions"]


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


def gather_patches(x: np.ndarray, convolution: Convolution, positions: np.ndarray | None) -> np.ndarray:
    """The inputs under the kernel at each output position, padding included.

    Args:
        x: the layer's input (N, C, *spatial).
        convolution: whose kernel, strides, dilations, pads and groups apply.
        positions: flat output positions, or None for all.

    Returns:
        (groups, N * positions, C / groups * taps) in float32, taps in the order of `Convolution.weight`.
    """
    count, channels = x.shape[:2]
    groups = convolution.groups
    if convolution.rank == 0:
        return np.ascontiguousarray(x.reshape(count, groups, channels // groups).swapaxes(0, 1), dtype=np.float32)
    windows = _windows(x, convolution)
    rank = convolution.rank
    out = windows.shape[2 : 2 + rank]
    index = np.unravel_index(np.arange(int(np.prod(out))) if positions is None else positions, out)
    places: tuple[Any, ...] = (slice(None), slice(None), *index)
    rows = windows[places]  # (N, C, positions, *kernel)
    taken = rows.shape[2]
    taps = int(np.prod(rows.shape[3:]))
    rows = rows.reshape(count, groups, channels // groups, taken, taps).transpose(1, 0, 3, 2, 4)
    return np.ascontiguousarray(rows, dtype=np.float32).reshape(groups, count * taken, channels // groups * taps)


def _windows(x: np.ndarray, convolution: Convolution) -> np.ndarray:
    """A view (N, C, *out, *kernel) of the padded input."""
    begin, end = convolution.pads_begin, convolution.pads_end
    padding = [(max(a, 0), max(b, 0)) for a, b in zip(begin, end, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *padding])
    sizes = padded.shape[2:]
    crop = [slice(max(-a, 0), size - max(-b, 0)) for a, b, size in zip(begin, end, sizes, strict=True)]
    padded = padded[(slice(None), slice(None), *crop)]
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, convolution.extent, axis=axes)
    strides = [slice(None, None, step) for step in convolution.strides]
    dilations = [slice(None, None, step) for step in convolution.dilations]
    view: np.ndarray = windows[(slice(None), slice(None), *strides, *dilations)]
    return view


def gather_outputs(y: np.ndarray, groups: int, positions: np.ndarray | None) -> np.ndarray:
    """Outputs (N, C, *spatial) at `positions` as (groups, N * positions, C / groups) in float32."""
    count, channels = y.shape[:2]
    flat = y.reshape(count, groups, channels // groups, -1)
    if positions is not None:
        flat = flat[..., positions]
    rows = np.ascontiguousarray(flat.transpose(1, 0, 3, 2), dtype=np.float32)
    return rows.reshape(groups, -1, channels // groups)
