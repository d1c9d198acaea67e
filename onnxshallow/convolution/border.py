"""Where a composite differs from the two convolutions it replaces.

The second convolution reads the first one's output at pixels m = o s2 - p2 + t2 d2. Where m lies outside that
output it sees a zero of its own padding. The composite sees what the first convolution *would* have computed
there: its bias, plus whatever its taps reach of the input. So the composite is exact unless, under the second
one's padding,

- the first one's taps still reach the input (the *reach* below), or
- the first one's bias is not zero.

Along one axis, on the begin side, call the padded pixel m = -1 - depth, with depth = 0, 1, ... Its last tap
lies at m s1 - p1 + E1 - 1, inside the input if (depth + 1) s1 <= E1 - 1 - p1. Thus the first `reach` depths
are harmful,

    reach = (E1 - 1 - p1 + u1) // s1,

with u1 = 0. The end side is the mirror image, except that a stride may leave u1 positions unread, which
virtual pixels then do read. Output row j, counted from its side, and the tap at distance t from that side of
the kernel see depth = p2 - 1 - t d2 - u2 - j s2, again with u2 = 0 at the begin and the second one's unread
positions at the end. The *ring* on a side is the number of rows up to the innermost one that sees a harmful
depth. A bias is harmful at every depth. The values of the weights do not enter, and inputs are taken to be
larger than a kernel: the ring is tight then, and never too narrow.

What the bias does wrong is the same for every input: `border_bias_map` is the constant that is right instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxshallow.convolution.affine import input_shift_map
from onnxshallow.convolution.composition import require_chain
from onnxshallow.convolution.evaluation import output_size, unread
from onnxshallow.convolution.kernel import Convolution

__all__ = ["Exactness", "border_bias_map", "exactness"]


@dataclass(frozen=True)
class Exactness:
    """Where `compose(first, second)` equals the two convolutions.

    Attributes:
        kind: "exact" if everywhere, for every input; "border" if only inside the ring.
        reason: why, in a sentence.
        ring_begin: how many output rows may be wrong at the begin of each spatial axis; zeros if exact, more
            than there are rows if the output is small. An output is right if it is in no axis' ring.
        ring_end: the same at the end of each spatial axis.
        repairable: whether only the first one's bias is to blame, so that `border_bias_map` in place of the
            composite's bias makes it exact everywhere. False where there is nothing to repair.
    """

    kind: Literal["exact", "border"]
    reason: str
    ring_begin: tuple[int, ...]
    ring_end: tuple[int, ...]
    repairable: bool


def exactness(first: Convolution, second: Convolution, spatial_in: Sequence[int] | None = None) -> Exactness:
    """Say where `compose(first, second)` is exact.

    Args:
        first: the convolution that is applied first.
        second: the convolution that is applied to the first one's output.
        spatial_in: spatial size of the first one's input, where it is known. With strides, some sizes are
            exact at the end where others are not; without a size, the answer holds for all of them.

    Returns:
        The verdict, with the width of the ring that may be wrong.

    Raises:
        ValueError: if the second does not read what the first writes, or the input is too small.
    """
    require_chain(first, second)
    by_input = _rings(first, second, spatial_in, by_bias=False)
    begin, end = _rings(first, second, spatial_in, by_bias=True) if np.any(first.bias) else by_input
    if not any(begin + end):
        return Exactness("exact", _why_exact(first, second), begin, end, repairable=False)
    if any(by_input[0] + by_input[1]):
        reason = (
            "The second convolution pads with zeros where the first one's taps still reach the input, "
            f"so the outermost output rows are wrong: {begin} at the begin and {end} at the end of the axes."
        )
        return Exactness("border", reason, begin, end, repairable=False)
    reason = (
        "The second convolution pads with zeros where the composite sees the first one's bias; "
        "a constant bias map repairs it where the spatial size is known."
    )
    return Exactness("border", reason, begin, end, repairable=True)


def border_bias_map(first: Convolution, second: Convolution, spatial_in: Sequence[int]) -> NDArray[np.float64]:
    """The constant that the two biases really contribute: the second convolution of the first one's bias.

    In place of the composite's bias it makes the composite exact everywhere if `exactness(first, second)` is
    exact or repairable; otherwise it leaves only the error of the first one's taps.

    Args:
        first: the convolution that is applied first.
        second: the convolution that is applied to the first one's output.
        spatial_in: spatial size of the first one's input.

    Returns:
        The map, `(C_out, *out)`.

    Raises:
        ValueError: if the second does not read what the first writes, or the input is too small.
    """
    require_chain(first, second)
    return input_shift_map(second, first.bias, output_size(first, spatial_in))


def _rings(
    first: Convolution, second: Convolution, spatial_in: Sequence[int] | None, *, by_bias: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ring widths at the begin and the end of each axis, due to the first one's bias or else to its taps."""
    first_unread: list[Sequence[int]] = [range(stride) for stride in first.strides]
    second_unread: list[Sequence[int]] = [range(stride) for stride in second.strides]
    if spatial_in is not None:
        first_unread = [(value,) for value in unread(first, spatial_in)]
        second_unread = [(value,) for value in unread(second, output_size(first, spatial_in))]

    def ring(axis: int, pad1: int, pad2: int, unread1: Sequence[int], unread2: Sequence[int]) -> int:
        reach = (first.extent[axis] - 1 - pad1 + max(unread1)) // first.strides[axis]
        return max(_ring(second, axis, pad2, value, pad2 if by_bias else reach) for value in unread2)

    begin, end = [], []
    for axis in range(first.rank):
        begin.append(ring(axis, first.pads_begin[axis], second.pads_begin[axis], (0,), (0,)))
        unread_here = first_unread[axis], second_unread[axis]
        end.append(ring(axis, first.pads_end[axis], second.pads_end[axis], *unread_here))
    return tuple(begin), tuple(end)


def _ring(second: Convolution, axis: int, pad: int, unread_end: int, reach: int) -> int:
    """Number of output rows, from one side, up to the innermost that sees one of the first `reach` depths."""
    ring = 0
    for tap in range(second.kernel_shape[axis]):
        depth = pad - 1 - tap * second.dilations[axis] - unread_end
        row, shallowest = divmod(depth, second.strides[axis])
        if depth >= 0 and shallowest < reach:
            ring = max(ring, row + 1)
    return ring


def _why_exact(first: Convolution, second: Convolution) -> str:
    """The sentence for an exact composite, the plainest that is true."""
    if first.rank == 0:
        return "Linear layers have no border."
    if all(pad <= 0 for pad in second.pads_begin + second.pads_end):
        return "The second convolution has no padding."
    if first.is_pointwise and not np.any(first.bias):
        return "The first convolution is 1x1, unpadded and bias-free, so it leaves padded zeros zero."
    return "The second convolution sees its padding only where the first one would compute zeros as well."
