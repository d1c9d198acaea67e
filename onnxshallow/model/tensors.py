"""What is known of a tensor without its values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["TensorInfo", "common_info", "with_sizes"]


@dataclass(frozen=True)
class TensorInfo:
    """Name, element type and shape of a tensor.

    Attributes:
        name: the tensor's name in the graph.
        dtype: numpy element type, or None where it is unknown or numpy has none.
        shape: one entry an axis: an int, a symbol's name, or None for an unknown size; None where even the
            rank is unknown.
    """

    name: str
    dtype: np.dtype | None
    shape: tuple[int | str | None, ...] | None

    @property
    def is_complete(self) -> bool:
        """Whether the element type and every size are known."""
        return self.dtype is not None and self.shape is not None and all(isinstance(s, int) for s in self.shape)

    @property
    def size(self) -> int:
        """Number of elements; unknown sizes count as one."""
        return int(np.prod([s for s in self.shape or () if isinstance(s, int)], dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Bytes that it takes, at least; unknown sizes count as one, an unknown element type as a byte."""
        count = math.prod(size for size in self.shape or () if isinstance(size, int))
        return count * (self.dtype.itemsize if self.dtype is not None else 1)


def with_sizes(infos: Sequence[TensorInfo], sizes: Mapping[str, Sequence[int]] | None) -> tuple[TensorInfo, ...]:
    """`infos` with the shapes that `sizes` gives by name; the first axis, the batch, stays open where it was."""
    return tuple(_with_size(info, sizes[info.name]) if sizes and info.name in sizes else info for info in infos)


def _with_size(info: TensorInfo, sizes: Sequence[int]) -> TensorInfo:
    batch = sizes[:1] if not info.shape or isinstance(info.shape[0], int) else info.shape[:1]
    return replace(info, shape=(*batch, *sizes[1:]))


def common_info(first: TensorInfo, second: TensorInfo) -> TensorInfo:
    """What holds for a tensor that two models read; an axis that either fixes is fixed.

    Raises:
        ValueError: no tensor fits both; says why, without a full stop.
    """
    if first.dtype != second.dtype:
        raise ValueError(f"input {first.name!r} is of type {first.dtype} in the one and {second.dtype} in the other")
    if first.shape is None or second.shape is None:
        return first if second.shape is None else second
    pairs = list(zip(first.shape, second.shape, strict=False))
    clash = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
    if clash or len(first.shape) != len(second.shape):
        shapes = [" x ".join("?" if s is None else str(s) for s in each.shape or ()) for each in (first, second)]
        raise ValueError(f"input {first.name!r} is {shapes[0]} in the one and {shapes[1]} in the other")
    return replace(first, shape=tuple(b if isinstance(b, int) else a for a, b in pairs))
