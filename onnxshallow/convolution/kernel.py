"""The convolution: a kernel, a bias, and where the kernel's taps fall on the input.

Along one spatial axis, output `o` and tap `t` meet at input position

    position(o, t) = o * stride - pad_begin + t * dilation,

where an input of size n is continued by zeros on both sides. Outputs exist as long as the last tap stays
within the padded input, which gives

    size(n) = (n + pad_begin + pad_end - extent) // stride + 1,    extent = dilation * (kernel - 1) + 1.

Everything in this package follows from these two lines. A negative pad cuts from the input, and needs no rule of
its own: the positions simply begin, or end, inside. A linear layer (Gemm) is the case without spatial axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Convolution", "identity"]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution layer as a value: what ONNX spreads over a Conv node's inputs and attributes.

    Arrays are converted to float64, the other sequences to tuples of ints. The arrays are not copied where
    they are float64 already: treat them as read-only.

    Attributes:
        weight: the kernel, `(C_out, C_in / groups, *kernel)`; `(C_out, C_in)` for a linear layer.
        bias: one number an output channel, `(C_out,)`.
        strides: one int a spatial axis.
        dilations: one int a spatial axis.
        pads_begin: zeros before the input, one int a spatial axis; negative to cut from it.
        pads_end: zeros after the input, one int a spatial axis; negative to cut from it.
        groups: into how many blocks of consecutive channels input and output are split.

    Raises:
        ValueError: if shapes, lengths or values contradict each other.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]
    groups: int

    def __post_init__(self) -> None:
        for name in ("weight", "bias"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        for name in ("strides", "dilations", "pads_begin", "pads_end"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        object.__setattr__(self, "groups", int(self.groups))
        self._validate()

    def _validate(self) -> None:
        shape = self.weight.shape
        if len(shape) < 2 or 0 in shape:
            raise ValueError(f"A weight of shape {shape} is no kernel: (C_out, C_in / groups, *kernel) is wanted.")
        if self.bias.shape != shape[:1]:
            raise ValueError(f"The bias has shape {self.bias.shape}, but the kernel writes {shape[0]} channels.")
        if self.groups < 1 or shape[0] % self.groups:
            raise ValueError(f"{shape[0]} output channels cannot be split into {self.groups} groups.")
        for name in ("strides", "dilations", "pads_begin", "pads_end"):
            values = getattr(self, name)
            if len(values) != self.rank:
                raise ValueError(f"{name} is {values}, but the kernel has {self.rank} spatial axes.")
        if any(value < 1 for value in self.strides + self.dilations):
            raise ValueError(f"Strides {self.strides} and dilations {self.dilations} must be at least 1.")

    @classmethod
    def of(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        pads_begin: Sequence[int] | None = None,
        pads_end: Sequence[int] | None = None,
        groups: int = 1,
    ) -> "Convolution":
        """Make a convolution with ONNX's defaults for what is left out.

        Args:
            weight: `(C_out, C_in / groups, *kernel)`, of any real dtype.
            bias: `(C_out,)`; zero where left out.
            strides: one int a spatial axis; 1 where left out.
            dilations: one int a spatial axis; 1 where left out.
            pads_begin: one int a spatial axis; 0 where left out.
            pads_end: one int a spatial axis; as `pads_begin` where left out.
            groups: number of groups.

        Returns:
            The convolution.

        Raises:
            ValueError: if shapes, lengths or values contradict each other.
        """
        kernel = np.asarray(weight, dtype=np.float64)
        rank = max(kernel.ndim - 2, 0)
        begin = (0,) * rank if pads_begin is None else tuple(pads_begin)
        return cls(
            weight=kernel,
            bias=np.zeros(kernel.shape[:1]) if bias is None else np.asarray(bias, dtype=np.float64),
            strides=(1,) * rank if strides is None else tuple(strides),
            dilations=(1,) * rank if dilations is None else tuple(dilations),
            pads_begin=begin,
            pads_end=begin if pads_end is None else tuple(pads_end),
            groups=groups,
        )

    @property
    def rank(self) -> int:
        """Number of spatial axes; 0 for a linear layer."""
        return self.weight.ndim - 2

    @property
    def out_channels(self) -> int:
        """Channels written."""
        return int(self.weight.shape[0])

    @property
    def in_channels(self) -> int:
        """Channels read, over all groups."""
        return int(self.weight.shape[1]) * self.groups

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Number of taps along each spatial axis."""
        return self.weight.shape[2:]

    @property
    def extent(self) -> tuple[int, ...]:
        """Input positions from the first to the last tap, dilation included, along each spatial axis."""
        pairs = zip(self.kernel_shape, self.dilations, strict=True)
        return tuple(dilation * (kernel - 1) + 1 for kernel, dilation in pairs)

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel reads exactly one pixel: one tap, nothing added or cut off at the edges."""
        return all(kernel == 1 for kernel in self.kernel_shape) and not any(self.pads_begin + self.pads_end)


def identity(channels: int, rank: int) -> Convolution:
    """The convolution that returns its input.

    It has as many groups as channels, so that composing it with, or adding it to, a grouped or depthwise
    convolution leaves that one's groups as they are.

    Args:
        channels: channels read and written.
        rank: number of spatial axes.

    Returns:
        A depthwise convolution with one tap, `(channels, 1, 1, ...)`.

    Raises:
        ValueError: if there are no channels, or the rank is negative.
    """
    if channels < 1 or rank < 0:
        raise ValueError(f"There is no identity on {channels} channels and {rank} spatial axes.")
    return Convolution.of(np.ones((channels, 1) + (1,) * rank), groups=channels)
