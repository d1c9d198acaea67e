"""What is known of a tensor without its values."""

from dataclasses import dataclass

import numpy as np

__all__ = ["TensorInfo"]


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
