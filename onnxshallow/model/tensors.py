"""What is known of a tensor without its values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxshallow.errors import ModelError

__all__ = ["TensorInfo", "shared_inputs", "with_sizes"]


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


def shared_inputs(first: Sequence[TensorInfo], second: Sequence[TensorInfo]) -> tuple[TensorInfo, ...]:
    """Inputs that suit two models: those of the first, with the sizes that only the second fixes.

    Args:
        first: of the first model.
        second: of the second, with the same names in the same order.

    Raises:
        ModelError: an input has another element type or shape in the second.
    """
    return tuple(_shared(a, b) for a, b in zip(first, second, strict=True))


def _shared(first: TensorInfo, second: TensorInfo) -> TensorInfo:
    if first.shape is None or second.shape is None:
        return first if second.shape is None else replace(first, shape=second.shape)
    pairs = list(zip(first.shape, second.shape, strict=False))
    fits = len(first.shape) == len(second.shape) and first.dtype == second.dtype
    if not fits or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
        raise ModelError(
            f"The models cannot be compared: input {first.name!r} is {_described(first)} in the original and "
            f"{_described(second)} in the optimized model; both must take the same samples."
        )
    return replace(first, shape=tuple(b if isinstance(b, int) else a for a, b in pairs))


def _described(info: TensorInfo) -> str:
    return f"{info.dtype} [{', '.join('?' if size is None else str(size) for size in info.shape or ())}]"


def _with_size(info: TensorInfo, sizes: Sequence[int]) -> TensorInfo:
    batch = sizes[:1] if not info.shape or isinstance(info.shape[0], int) else info.shape[:1]
    return replace(info, shape=(*batch, *sizes[1:]))
