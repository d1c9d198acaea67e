"""Several convolutions of one input, their outputs one after the other, as one convolution.

Each is written with all the outputs, zero for those of the others, and the sum of these is the whole: their taps are
named by the pixel they see, as for a shortcut (`onnxshallow.convolution.shortcut`). The result is dense and exact.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from onnxshallow.convolution.grouping import dense
from onnxshallow.convolution.kernel import Convolution
from onnxshallow.convolution.shortcut import add_shortcut

__all__ = ["join"]


def join(convolutions: Sequence[Convolution]) -> Convolution:
    """The convolution whose outputs are those of several, in their order, for the same input.

    Args:
        convolutions: one at least, of as many input channels and of equal strides.

    Raises:
        ValueError: if input channels, number of axes or strides differ, or output sizes for some input size.
    """
    total, start, parts = sum(each.out_channels for each in convolutions), 0, []
    for each in map(dense, convolutions):
        rows = slice(start, start + each.out_channels)
        weight = np.zeros((total, *each.weight.shape[1:]))
        bias = np.zeros(total)
        weight[rows], bias[rows] = each.weight, each.bias
        parts.append(replace(each, weight=weight, bias=bias))
        start = rows.stop
    return reduce(add_shortcut, parts)
