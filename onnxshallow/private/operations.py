"""What a network does that secure computation charges for, one operation after the other.

A node may do several things: a Clip compares twice, a PRelu compares and multiplies.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from onnxshallow.analysis import Analysis, Layer, Site
from onnxshallow.analysis.cost import is_square
from onnxshallow.analysis.smooth import kind_of
from onnxshallow.model.network import Network, Node
from onnxshallow.private.smooth import FUNCTIONS, steps_of

__all__ = ["Kind", "Matrices", "Operation", "Operations", "count_operations"]

Kind = Literal[
    "comparison", "square", "product", "factor", "scale", "linear", "sigmoid", "tanh", "erf", "exp", "softplus"
]
"""A factor is a multiplication by more than one number of the model's, a scale one by a number that all may know."""

# Sums and moves: each party does these on its own shares.
_LOCAL = (
    "Add", "Sub", "Neg", "Sum", "Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze",
    "Concat", "Split", "Slice", "Gather", "Pad", "Expand", "Tile", "Cast", "Shape", "Size", "Constant",
    "ConstantOfShape", "Range", "DepthToSpace", "SpaceToDepth", "ReduceSum",
)  # fmt: skip
# Sums that are divided by how many were summed.
_AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean", "Mean")


@dataclass(frozen=True)
class Matrices:
    """A linear layer of one sample: `groups` products of matrices (rows, inner) and (inner, columns).

    A convolution has a row for each place of its output, with the taps of its input channels in it.

    Attributes:
        rows: of the left factor.
        inner: columns of the left factor, and rows of the right one.
        columns: of the right factor.
        groups: how many such products there are.
    """

    rows: int
    inner: int
    columns: int
    groups: int = 1

    @property
    def opened(self) -> int:
        """Elements of both factors."""
        return self.groups * (self.rows * self.inner + self.inner * self.columns)

    @property
    def made(self) -> int:
        """Elements of the results."""
        return self.groups * self.rows * self.columns

    @property
    def whole(self) -> "Matrices":
        """All groups as one product, with zeros between the groups in the right factor."""
        return Matrices(self.rows, self.groups * self.inner, self.groups * self.columns)

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.made * self.inner


@dataclass(frozen=True)
class Operation:
    """One thing that a node does and that is charged for, on one sample.

    Attributes:
        node: the node's index.
        kind: what is done.
        made: elements of the result; of comparisons, how many there are.
        steps: that follow each other.
        matrices: of a linear layer.
    """

    node: int
    kind: Kind
    made: int
    steps: int = 1
    matrices: Matrices | None = None


@dataclass(frozen=True)
class Operations:
    """What a network does, per sample.

    Attributes:
        all: what is charged for, in the order of the nodes.
        uncounted: how many nodes there are of each operator that is none of these, and not local to a party.
        unknown: nodes whose shapes are not known.
    """

    all: tuple[Operation, ...]
    uncounted: tuple[tuple[str, int], ...]
    unknown: tuple[str, ...]

    def of(self, *kinds: Kind) -> tuple[Operation, ...]:
        """The operations of these kinds."""
        return tuple(operation for operation in self.all if operation.kind in kinds)

    @cached_property
    def comparisons(self) -> int:
        """Comparisons of ReLU-like nodes and max poolings; a Clip(0, n) has two an element."""
        return self._made("comparison")

    @cached_property
    def steps(self) -> int:
        """Layers of comparisons: one a ReLU, two a Clip, ceil(log2 k) a max pooling over k values, as a tree."""
        return sum(operation.steps for operation in self.of("comparison"))

    @cached_property
    def squares(self) -> int:
        """Elements that are multiplied by themselves."""
        return self._made("square")

    @cached_property
    def smooth(self) -> int:
        """Elements that a smooth function is computed of, such as a sigmoid; each function by itself."""
        return sum(operation.made for operation in self.of(*FUNCTIONS))

    @cached_property
    def products(self) -> int:
        """Elements of the products of two computed tensors."""
        return self._made("product")

    def _made(self, kind: Kind) -> int:
        return sum(operation.made for operation in self.of(kind))


class _UnknownShapeError(Exception):
    """A shape that a count needs is not known."""


def count_operations(analysis: Analysis) -> Operations:
    """Find what a network does on one sample."""
    network, layers = analysis.network, analysis.layers.by_node
    found: list[Operation] = []
    others: Counter[str] = Counter()
    unknown = [site.name for site in analysis.sites if site.size is None]
    for node in network.nodes:
        if node.index not in network.alive or network.is_constant(node.outputs[0]) or _is_integral(network, node):
            continue
        layer, site = layers.get(node.index), analysis.site_of_node.get(node.index)
        if layer is not None and layer.main != node.index:
            continue  # folded into the layer's weights
        if site is not None and site.size is None:
            continue
        try:
            made = list(_operations(analysis, node, layer, site))
        except _UnknownShapeError:
            unknown.append(node.name)
            continue
        found += made
        if site is not None and not made:
            others[site.kind] += 1
        elif not (made or layer or node.is_op(*_LOCAL, "Mul", "Clip") or _copies(node)):
            others[node.op] += 1
    return Operations(tuple(found), tuple(sorted(others.items())), tuple(unknown))


def _operations(analysis: Analysis, node: Node, layer: Layer | None, site: Site | None) -> Iterator[Operation]:
    """What a node does; nothing where it is local to a party, or is not counted."""
    network, index = analysis.network, node.index
    if steps := list(steps_of(kind_of(node), by_tanh=node.attributes.get("approximate") == "tanh")):
        made = _elements(network, node.outputs[0])
        yield from (Operation(index, step, made) for step in steps)
    elif site is not None:
        if site.comparisons:
            yield from _site_operations(network, node, site)
    elif layer is not None and layer.kind == "affine":
        yield from _times(node, analysis.layers.convolution(layer).weight, _elements(network, layer.output))
    elif layer is not None or (node.is_op("Conv", "ConvTranspose", "Gemm", "MatMul") and _has_weights(network, node)):
        matrices = _matrices(network, node)
        yield Operation(index, "linear", matrices.made, matrices=matrices)
    elif node.is_op("MaxPool", "GlobalMaxPool"):
        made, window = _elements(network, node.outputs[0]), _window(network, node)
        yield Operation(index, "comparison", made * (window - 1), (window - 1).bit_length())
    elif node.is_op(*_AVERAGES) or (node.is_op("Resize", "Upsample") and not _copies(node)):
        yield Operation(index, "scale", _elements(network, node.outputs[0]))
    elif is_square(network, node):
        yield Operation(index, "square", _elements(network, node.outputs[0]))
    elif node.is_op("Mul", "Div"):
        yield from _multiplication(network, node)
    elif node.is_op("Clip", "Max", "Min"):
        bounds = sum(bool(name) for name in node.inputs[1:]) if network.opset >= 11 or node.op != "Clip" else 2
        yield Operation(index, "comparison", bounds * _elements(network, node.outputs[0]), bounds)
    elif node.is_op("HardSigmoid", "HardSwish"):
        made = _elements(network, node.outputs[0])
        yield Operation(index, "scale", made)
        yield Operation(index, "comparison", 2 * made, 2)
        if node.op == "HardSwish":
            yield Operation(index, "product", made)


def _site_operations(network: Network, node: Node, site: Site) -> Iterator[Operation]:
    """max(x, 0), and with a slope s for what is left of it: s (x - max(x, 0)); x times a clamp for a HardSwish."""
    size = site.size or 0
    yield Operation(node.index, "comparison", site.compared, site.comparisons)
    if site.kind in ("leaky_relu", "hard_sigmoid", "hard_swish"):
        yield Operation(node.index, "scale", size)
        if site.kind == "hard_swish":
            yield Operation(node.index, "product", size)
    elif site.kind == "prelu":
        slope = network.constant(node.inputs[1])
        if slope is None:
            yield Operation(node.index, "product", size)
        elif np.any(slope[slope != 1]):
            yield from _times(node, slope[slope != 1], size)


def _multiplication(network: Network, node: Node) -> Iterator[Operation]:
    """By the model's numbers, or of two computed tensors; a division by a computed tensor is not counted."""
    constants = [name for name in node.inputs if network.is_constant(name)]
    made = _elements(network, node.outputs[0])
    if not constants and node.op == "Mul":
        yield Operation(node.index, "product", made)
    elif constants and (node.op == "Mul" or network.is_constant(node.inputs[1])):
        value = network.constant(constants[0] if node.op == "Mul" else node.inputs[1])
        yield from _times(node, np.empty(2) if value is None else value, made)


def _times(node: Node, numbers: np.ndarray, made: int) -> Iterator[Operation]:
    """A multiplication by the model's numbers; one for all elements is no secret, and a one changes nothing."""
    if numbers.size and np.any(numbers != numbers.flat[0]):
        yield Operation(node.index, "factor", made)
    elif numbers.size and numbers.flat[0] != 1:
        yield Operation(node.index, "scale", made)


def _is_integral(network: Network, node: Node) -> bool:
    """Whether a node computes sizes or places, which are no secret."""
    dtype = network.dtype(node.outputs[0])
    return dtype is not None and dtype.kind in "iub"


def _copies(node: Node) -> bool:
    """Whether a node resizes by copying values, which each party does on its own."""
    return node.is_op("Resize", "Upsample") and node.attributes.get("mode", "nearest") == "nearest"


def _has_weights(network: Network, node: Node) -> bool:
    """Whether the second factor is stored or computed from what is, and no stack of matrices."""
    name = node.inputs[1]
    stored = network.is_constant(name) or network.is_overridable(name)
    return stored and (node.op != "MatMul" or len(_sizes(network, name)) == 2)


def _matrices(network: Network, node: Node) -> Matrices:
    """A layer's main node as products of matrices."""
    data, weight, output = (_sizes(network, name) for name in (*node.inputs[:2], node.outputs[0]))
    if len(output) < 2:
        raise _UnknownShapeError
    if node.op == "Conv":
        groups = max(data[1] // max(weight[1], 1), 1)
        places = network.per_sample(math.prod((output[0], *output[2:])))
        return Matrices(places, math.prod(weight[1:]), output[1] // groups, groups)
    if node.op == "ConvTranspose":  # a convolution over the input with zeros between its values
        places = network.per_sample(math.prod((output[0], *output[2:])))
        return Matrices(places, data[1] * math.prod(weight[2:]), output[1])
    columns = max(output[-1], 1)
    made = network.per_sample(math.prod(output))
    return Matrices(made // columns, math.prod(weight) // columns, columns)


def _window(network: Network, node: Node) -> int:
    """Values that a pooling takes the greatest of."""
    if node.op == "GlobalMaxPool":
        return math.prod(_sizes(network, node.inputs[0])[2:])
    return math.prod(node.attributes.get("kernel_shape", (1,)))


def _elements(network: Network, tensor: str) -> int:
    return network.per_sample(math.prod(_sizes(network, tensor)))


def _sizes(network: Network, tensor: str) -> tuple[int, ...]:
    """Sizes for one sample's batch."""
    value = None if network.shape(tensor) is not None else network.constant(tensor)
    sizes = network.full_shape(tensor) if value is None else value.shape
    if sizes is None:
        raise _UnknownShapeError
    return sizes
