"""Between which numbers tensors lie, whatever the input: what an activation leaves alone, or silences, for sure.

    Relu, Abs, Exp, Softplus, x * x    from 0 on              MaxPool, Split, ...          as what they read
    Sigmoid, HardSigmoid, Softmax      from 0 to 1            Concat                       from least to greatest
    Erf, Softsign, Tanh                from -1 to 1           a layer, a sum, a product    by interval arithmetic
    Clip                               between its bounds

The padding of a layer is zero among what it reads. Bounds that come of terms of both signs are widened by more than
rounding can move them; a sum of what is not negative is never below zero.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.layers import Layer
from onnxshallow.model.network import Node
from onnxshallow.model.spelling.clamps import Clamp, clamp_of

__all__ = ["Ranges"]

_ANY, _FROM_ZERO = Clamp(-math.inf, math.inf), Clamp(0.0, math.inf)
_FIXED = {
    **dict.fromkeys(("Abs", "Exp", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Softplus", "Sqrt"), _FROM_ZERO),
    **dict.fromkeys(("HardSigmoid", "Sigmoid", "Softmax"), Clamp(0.0, 1.0)),
    **dict.fromkeys(("Erf", "Softsign", "Tanh"), Clamp(-1.0, 1.0)),
}
# What they make lies between the least and the greatest number that they read, or that they pad by.
_WITHIN = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMax",
    "ReduceMean", "ReduceMin", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
)  # fmt: skip
# How far rounding may move a sum, as a share of the sizes of its terms: in single and double precision, and in half.
_ROUNDING, _ROUNDING_IN_HALF = 1e-4, 3e-2


class Ranges:
    """The ranges of the tensors of a network.

    Args:
        analysis: of the network.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._network = analysis.network
        self._known: dict[str, Clamp] = {}
        for node in self._network.nodes:
            layer = analysis.layers.by_node.get(node.index)
            if layer is None:
                made = self._of_node(node)
                self._known.update((name, made) for name in node.outputs if name)
            elif layer.nodes[-1] == node.index:
                self._known[layer.output] = self._of_layer(layer)

    def of(self, tensor: str) -> Clamp:
        """The range of a tensor."""
        if tensor not in self._known and self._network.is_constant(tensor):
            value = self._network.constant(tensor)
            if value is not None and value.size and value.dtype.kind in "fiu":
                self._known[tensor] = Clamp(float(value.min()), float(value.max()))
        return self._known.get(tensor, _ANY)

    def _of_layer(self, layer: Layer) -> Clamp:
        if not layer.is_light:
            return _ANY
        convolution = self._analysis.layers.convolution(layer)
        read = self.of(layer.source)
        if any(pad > 0 for pad in (*convolution.pads_begin, *convolution.pads_end)):
            read = _hull([read, Clamp(0.0, 0.0)])
        axes = tuple(range(1, convolution.weight.ndim))
        above, below = (part.sum(axis=axes) for part in (convolution.weight.clip(0), convolution.weight.clip(max=0)))
        low = [convolution.bias, _times(above, read.low), _times(below, read.high)]
        high = [convolution.bias, _times(above, read.high), _times(below, read.low)]
        return self._sum(layer.output, low, high)

    def _sum(self, output: str, low: Sequence[NDArray[np.float64]], high: Sequence[NDArray[np.float64]]) -> Clamp:
        """The range of sums of terms between `low` and `high`, each (C,)."""
        half = self._network.dtype(output) == np.float16
        rounding = _ROUNDING_IN_HALF if half else _ROUNDING
        with np.errstate(invalid="ignore"):
            least, most = (np.sum(terms, axis=0) for terms in (low, high))
            below, above = (rounding * np.sum(np.abs(terms), axis=0) for terms in (low, high))
            least = np.where(np.min(low, axis=0) >= 0, least, least - below)
            most = np.where(np.max(high, axis=0) <= 0, most, most + above)
        lowest, highest = np.where(np.isnan(least), -math.inf, least), np.where(np.isnan(most), math.inf, most)
        return Clamp(float(lowest.min()), float(highest.max()))

    def _of_node(self, node: Node) -> Clamp:
        network = self._network
        if network.is_constant(node.outputs[0]):
            return self.of(node.outputs[0])
        clamp = clamp_of(network, node)
        if clamp is not None:
            return self.of(node.inputs[0]).then(clamp)
        if node.is_op(*_FIXED):
            return _FIXED[node.op]
        if is_passthrough(network, node) or node.is_op(*_WITHIN):
            return self.of(node.inputs[0])
        if node.is_op("AveragePool"):  # which may count its padding
            return _hull([self.of(node.inputs[0]), Clamp(0.0, 0.0)])
        if node.is_op("Concat"):
            return _hull([self.of(name) for name in node.inputs])
        if node.is_op("Neg"):
            return _negative(self.of(node.inputs[0]))
        if node.is_op("Add", "Sub", "Sum"):
            ranges = [self.of(name) for name in node.inputs]
            ranges[1:] = map(_negative, ranges[1:]) if node.op == "Sub" else ranges[1:]
            ends = [
                [np.array([end]) for end in ends] for ends in zip(*((r.low, r.high) for r in ranges), strict=True)
            ]
            return self._sum(node.outputs[0], ends[0], ends[1])
        return self._product(node) if node.is_op("Mul") else _ANY

    def _product(self, node: Node) -> Clamp:
        if node.inputs[0] == node.inputs[1]:
            return _FROM_ZERO
        one, other = (self.of(name) for name in node.inputs)
        if one.low >= 0 and other.low >= 0:
            return Clamp(0.0, math.inf if math.inf in (one.high, other.high) else one.high * other.high)
        return _ANY


def _negative(read: Clamp) -> Clamp:
    return Clamp(-read.high, -read.low)


def _hull(ranges: Sequence[Clamp]) -> Clamp:
    return Clamp(min(each.low for each in ranges), max(each.high for each in ranges))


def _times(weights: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Products, (C,); nothing times infinity is nothing."""
    made = np.zeros_like(weights)
    np.multiply(weights, bound, out=made, where=weights != 0)
    return made
