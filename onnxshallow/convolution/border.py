"""Whether a composite equals the two convolutions that it replaces at the border too.

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

with u1 = 0. The end side is the mirror image, except that a stride may leave u1 < s1 positions unread, which
virtual pixels then do read. Output row j, counted from its side, and the tap at distance t from that side of
the kernel see depth = p2 - 1 - t d2 - u2 - j s2, again with u2 = 0 at the begin and the second one's unread
positions at the end. A bias is harmful at every depth. The values of the weights do not enter, and inputs are
taken to be larger than a kernel.
"""

import numpy as np

from onnxshallow.convolution.composition import require_chain
from onnxshallow.convolution.kernel import Convolution

__all__ = ["composes_exactly"]


def composes_exactly(first: Convolution, second: Convolution) -> bool:
    """Whether `compose(first, second)` equals the two convolutions everywhere, for inputs of every size.

    With strides, some sizes may be exact at the end where others are not; the answer is that for all of them.

    Args:
        first: the convolution that is applied first.
        second: the convolution that is applied to the first one's output.

    Raises:
        ValueError: if the second does not read what the first writes.
    """
    require_chain(first, second)
    biased = bool(np.any(first.bias))
    for axis in range(first.rank):
        span = first.extent[axis] - 1
        sides = (
            (first.pads_begin[axis], second.pads_begin[axis], 1, 1),
            (first.pads_end[axis], second.pads_end[axis], first.strides[axis], second.strides[axis]),
        )
        for pad1, pad2, endings1, endings2 in sides:
            reach = pad2 if biased else (span - pad1 + endings1 - 1) // first.strides[axis]
            if _sees(second, axis, pad2, endings2, reach):
                return False
    return True


def _sees(second: Convolution, axis: int, pad: int, endings: int, reach: int) -> bool:
    """Whether any output, on one side, sees one of the first `reach` depths; `endings` positions may be unread."""
    deepest = (
        pad - 1 - tap * second.dilations[axis] - unread
        for tap in range(second.kernel_shape[axis])
        for unread in range(endings)
    )
    return any(depth >= 0 and depth % second.strides[axis] < reach for depth in deepest)
