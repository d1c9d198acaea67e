"""What a network does that secure computation charges for: comparisons, layers with weights, products, the rest."""

import math
from collections import Counter
from dataclasses import dataclass

from onnxshallow.analysis import Analysis
from onnxshallow.analysis.cost import is_square
from onnxshallow.model.network import Network, Node

__all__ = ["LinearSize", "Operations", "count_operations"]

# Sums, moves, and products with numbers that every party knows: each party does these on its own shares.
_LOCAL = (
    "Add", "Sub", "Neg", "Sum", "Mean", "Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Squeeze",
    "Unsqueeze", "Concat", "Split", "Slice", "Gather", "Pad", "Expand", "Tile", "Cast", "Shape", "Size", "Constant",
    "ConstantOfShape", "Range", "DepthToSpace", "SpaceToDepth", "AveragePool", "GlobalAveragePool", "ReduceMean",
    "ReduceSum", "Resize", "Upsample",
)  # fmt: skip


@dataclass(frozen=True)
class LinearSize:
    """A linear layer as a product of matrices, per sample.

    Attributes:
        name: of its node.
        patches: elements of the left factor: a row of taps times input channels for each place of the output.
        weights: elements of the right factor.
        made: elements of the result.
    """

    name: str
    patches: int
    weights: int
    made: int


@dataclass(frozen=True)
class Operations:
    """What a network does, per sample.

    Attributes:
        comparisons: of ReLU-like nodes and max poolings; a Clip(0, n) has two an element.
        steps: layers of comparisons: one a ReLU-like node, two a Clip, ceil(log2 k) a max pooling over k values,
            which a tree of comparisons takes.
        linear: linear layers whose weights are constants.
        squares: elements that are multiplied by themselves.
        products: elements of the products of two computed tensors.
        factors: elements of these tensors.
        uncounted: how many nodes there are of each operator that is none of these, and not local to a party.
        unknown: nodes whose shapes are not known.
    """

    comparisons: int
    steps: int
    linear: tuple[LinearSize, ...]
    squares: int
    products: int
    factors: int
    uncounted: tuple[tuple[str, int], ...]
    unknown: tuple[str, ...]


def count_operations(analysis: Analysis) -> Operations:
    """Count what a network does on one sample."""
    network, sites = analysis.network, analysis.site_of_node
    linear: list[LinearSize] = []
    others: Counter[str] = Counter()
    unknown = [site.name for site in analysis.sites if site.size is None]
    products = factors = 0
    steps = sum(site.comparisons for site in analysis.sites)
    layers = analysis.layers.by_node
    for node in network.nodes:
        if node.index not in network.alive or node.index in sites or network.is_constant(node.outputs[0]):
            continue
        layer = layers.get(node.index)
        if layer is not None and layer.main != node.index:
            continue  # folded into the layer's weights
        factor = _factor(network, node)
        if factor is not None:
            made = _elements(network, node.outputs[0])
            if made is None:
                unknown.append(node.name)
            elif factor > 1:  # one number for all is no secret, and each party multiplies its own share
                linear.append(LinearSize(node.name, made, factor, made))
        elif node.is_op("Conv", "Gemm", "MatMul") or layer is not None:
            if layer is None and not _has_weights(network, node):
                others[node.op] += 1
                continue
            size = _linear_size(network, node)
            if size is None:
                unknown.append(node.name)
            else:
                linear.append(size)
        elif node.is_op("MaxPool"):
            window = math.prod(node.attributes.get("kernel_shape", (1,)))
            steps += (window - 1).bit_length()
            if _sizes(network, node.outputs[0]) is None:
                unknown.append(node.name)
        elif is_square(network, node):
            if _elements(network, node.outputs[0]) is None:
                unknown.append(node.name)
        elif _is_product(network, node):
            made, *read = (_elements(network, name) for name in (node.outputs[0], *node.inputs))
            if made is None or None in read:
                unknown.append(node.name)
            else:
                products, factors = products + made, factors + sum(size or 0 for size in read)
        elif not node.is_op(*_LOCAL):
            others[node.op] += 1
    return Operations(
        comparisons=analysis.cost.comparisons,
        steps=steps,
        linear=tuple(linear),
        squares=analysis.cost.squares,
        products=products,
        factors=factors,
        uncounted=tuple(sorted(others.items())),
        unknown=tuple(unknown),
    )


def _has_weights(network: Network, node: Node) -> bool:
    """Whether the second factor is stored or computed from what is, and no stack of matrices."""
    name = node.inputs[1]
    weight = _sizes(network, name)
    stored = network.is_constant(name) or network.is_overridable(name)
    return stored and (node.op != "MatMul" or weight is None or len(weight) == 2)


def _linear_size(network: Network, node: Node) -> LinearSize | None:
    """A layer's main node as a product of matrices; None where a shape is not known."""
    data, weight, output = (_sizes(network, name) for name in (*node.inputs[:2], node.outputs[0]))
    if data is None or weight is None or output is None or len(output) < 2:
        return None
    made = network.per_sample(math.prod(output))
    if node.is_op("BatchNormalization"):  # a number a channel: a 1x1 convolution of one channel each
        return LinearSize(node.name, made, output[1], made)
    weights = math.prod(weight)
    if node.op == "Conv":
        places = network.per_sample(math.prod((output[0], *output[2:])))
        return LinearSize(node.name, places * math.prod(weight[2:]) * data[1], weights, made)
    columns = max(output[-1], 1)
    return LinearSize(node.name, made // columns * (weights // columns), weights, made)


def _is_product(network: Network, node: Node) -> bool:
    """Whether a node multiplies two computed tensors."""
    return node.is_op("Mul") and not any(network.is_constant(name) for name in node.inputs)


def _factor(network: Network, node: Node) -> int | None:
    """How many numbers a node multiplies or divides a tensor by; None where it is another kind of node."""
    places = {"Mul": (0, 1), "Div": (1,)}.get(node.op, ()) if node.is_op("Mul", "Div") else ()
    constants = [node.inputs[place] for place in places if network.is_constant(node.inputs[place])]
    if not constants:
        return None
    sizes = _sizes(network, constants[0])
    return 1 if sizes is None else math.prod(sizes)


def _elements(network: Network, tensor: str) -> int | None:
    sizes = _sizes(network, tensor)
    return None if sizes is None else network.per_sample(math.prod(sizes))


def _sizes(network: Network, tensor: str) -> tuple[int, ...] | None:
    """Sizes for one sample's batch; None where one is not known."""
    if network.shape(tensor) is not None:
        return network.full_shape(tensor)
    value = network.constant(tensor)
    return None if value is None else value.shape
