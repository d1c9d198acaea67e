"""Operators that move elements without computing, and arithmetic of shapes, whose integers stay on the processor."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxshallow.model.weights import value_of
from onnxshallow.training.operators.call import Call, Operator, integers

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "taken"]

# Channels are selected by a convolution where its kernel has at most so many numbers.
_MOST_MULTIPLIED = 2**16


def taken(x: "Tensor", axis: int, indices: np.ndarray) -> "Tensor":
    """The slices of x at some places along an axis."""
    import torch

    return x.index_select(axis, torch.from_numpy(np.array(indices, np.int64)).to(x.device))


def _shape(call: Call, x: "Tensor") -> "Tensor":
    import torch

    start, end = call.get("start", 0), call.get("end")
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


def _reshape(call: Call, x: "Tensor", shape: "Tensor") -> "Tensor":
    sizes = integers(shape)
    if not call.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(call: Call, x: "Tensor") -> "Tensor":
    axis = int(call.get("axis", 1))
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)


def _squeeze(call: Call, x: "Tensor", axes: "Tensor | None" = None) -> "Tensor":
    chosen = call.axes(axes)
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


def _unsqueeze(call: Call, x: "Tensor", axes: "Tensor | None" = None) -> "Tensor":
    chosen = call.axes(axes) or []
    rank = x.dim() + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call, x: "Tensor") -> "Tensor":
    return x.permute([int(axis) for axis in call.get("perm", reversed(range(x.dim())))])


def _concat(call: Call, *inputs: "Tensor") -> "Tensor":
    import torch

    return torch.cat(inputs, int(call.get("axis", 1)))


def _split(call: Call, x: "Tensor", sizes: "Tensor | None" = None) -> "Sequence[Tensor]":
    axis, parts = int(call.get("axis", 0)), len(call.node.outputs)
    stated = call.axes(sizes, "split")
    made: Sequence[Tensor] = x.split(-(-x.shape[axis] // parts) if stated is None else stated, axis)
    return made if x.dim() != 4 else [_whole(part) for part in made]


def _whole(part: "Tensor") -> "Tensor":
    """A part of maps as maps of their own, which are several times as fast to compute with."""
    import torch

    return part.contiguous(memory_format=torch.channels_last)


def _slice(
    call: Call,
    x: "Tensor",
    starts: "Tensor | None" = None,
    ends: "Tensor | None" = None,
    axes: "Tensor | None" = None,
    steps: "Tensor | None" = None,
) -> "Tensor":
    begins, stops = call.axes(starts, "starts") or [], call.axes(ends, "ends") or []
    chosen = call.axes(axes) or list(range(len(begins)))
    strides = [1] * len(begins) if steps is None else integers(steps)
    for begin, stop, axis, stride in zip(begins, stops, chosen, strides, strict=True):
        axis = axis % x.dim()
        if stride > 0:
            x = x[(*(slice(None),) * axis, slice(begin, stop, stride))]
        else:
            places = np.arange(x.shape[axis])[begin : None if stop < -x.shape[axis] else stop : stride]
            x = taken(x, axis, places)
    return x


def _gather(call: Call, x: "Tensor", indices: "Tensor") -> "Tensor":
    axis = int(call.get("axis", 0)) % x.dim()
    places = np.asarray(integers(indices)) % x.shape[axis]
    if x.dim() == 4 and axis == 1 and x.is_floating_point() and len(places) * x.shape[1] <= _MOST_MULTIPLIED:
        found = _channels(x, places)
    else:
        found = taken(x, axis, places)
    return found.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _channels(x: "Tensor", places: np.ndarray) -> "Tensor":
    """Some channels of maps, as a convolution by ones and zeros.

    It keeps the layout of the maps, and takes a tenth of the time of a selection (docs/decisions/training.md).
    """
    import torch
    from torch.nn import functional

    kernel = torch.zeros((len(places), x.shape[1], 1, 1), dtype=x.dtype, device=x.device)
    kernel[range(len(places)), places] = 1
    with torch.autocast(x.device.type, enabled=False):
        return functional.conv2d(x, kernel)


def _expand(call: Call, x: "Tensor", shape: "Tensor") -> "Tensor":
    sizes = integers(shape)
    own = [1] * (len(sizes) - x.dim()) + list(x.shape)
    sizes = [1] * (len(own) - len(sizes)) + sizes
    return x.expand([max(pair) if 0 not in pair else 0 for pair in zip(own, sizes, strict=True)])


def _tile(call: Call, x: "Tensor", repeats: "Tensor") -> "Tensor":
    return x.repeat(integers(repeats))


def _filled(call: Call, shape: "Tensor") -> "Tensor":
    import torch

    value = call.get("value")
    one = np.zeros(1, np.float32) if value is None else value_of(value)
    dtype = torch.float32 if one.dtype.kind == "f" else torch.bool if one.dtype.kind == "b" else torch.int64
    return torch.full(integers(shape), one.reshape(-1)[0].item(), dtype=dtype)


def _depth_to_space(call: Call, x: "Tensor") -> "Tensor":
    n, c, h, w = x.shape
    size = int(call.get("blocksize"))
    if call.get("mode", "DCR") == "DCR":
        moved = x.reshape(n, size, size, -1, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        moved = x.reshape(n, -1, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
    return moved.reshape(n, c // size**2, h * size, w * size)


def _space_to_depth(call: Call, x: "Tensor") -> "Tensor":
    n, c, h, w = x.shape
    size = int(call.get("blocksize"))
    moved = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return moved.reshape(n, c * size**2, h // size, w // size)


OPERATORS: Mapping[str, Operator] = {
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""By type."""
