"""What a network costs: ReLUs, squares, multiply-adds, parameters and depth, per sample."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from onnxshallow.analysis.sites import Site
from onnxshallow.model.network import Network, Node
from onnxshallow.model.weights import byte_size

__all__ = ["Cost", "count_cost", "is_linear", "is_square", "layer_macs", "node_depths"]

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PRODUCTS = ("Mul", "Div", "Pow", "BatchNormalization", "AveragePool", "GlobalAveragePool", "ReduceMean")


@dataclass(frozen=True)
class Cost:
    """Counts of one model, per sample.

    Attributes:
        relus: scalar activations over all sites whose size is known.
        relu_nodes: number of sites.
        comparisons: comparisons under secure computation: one a ReLU, two a Clip(0, n), one for each element
            of a Max that activates some, k - 1 for each output of a max pooling over k values.
        macs: multiply-adds of Conv, ConvTranspose, Gemm and MatMul nodes whose shapes are known.
        params: numbers stored in initializers and Constant nodes of floating-point type.
        conv_layers: number of Conv and ConvTranspose nodes.
        linear_layers: number of Conv, ConvTranspose, Gemm and MatMul nodes.
        depth: linear layers on the longest path from an input to an output.
        unknown: names of linear nodes, sites and squares whose shapes are not known; they count as zero.
        squares: elements that are multiplied by themselves.
        levels: products on the longest path from an input to an output: linear layers, products of computed tensors
            and with constants of several values, averages. The multiplicative depth of a homomorphic evaluation,
            which can have neither activations nor max poolings.
        size_bytes: of the model's file, with its weights; names make it differ between models that are alike.

    Nodes on which no output depends are not run, and count for nothing but their parameters.
    """

    relus: int
    relu_nodes: int
    comparisons: int
    macs: int
    params: int
    conv_layers: int
    linear_layers: int
    depth: int
    unknown: tuple[str, ...] = ()
    squares: int = 0
    levels: int = 0
    size_bytes: int = field(default=0, compare=False)


def count_cost(network: Network, sites: Sequence[Site]) -> Cost:
    """Count what `network` costs."""
    alive = network.alive
    linear = [node for node in network.nodes if node.index in alive and is_linear(network, node)]
    macs = {node.name: layer_macs(network, node) for node in linear}
    unknown = [name for name, count in macs.items() if count is None]
    unknown += [site.name for site in sites if site.size is None]
    squares = {
        node.name: _made(network, node) for node in network.nodes if node.index in alive and is_square(network, node)
    }
    unknown += [name for name, count in squares.items() if count is None]
    depths = node_depths(network)
    return Cost(
        relus=sum(site.size or 0 for site in sites),
        relu_nodes=len(sites),
        comparisons=sum(site.compared for site in sites) + _pooling_comparisons(network, alive),
        macs=sum(count or 0 for count in macs.values()),
        params=_parameters(network.model.graph),
        conv_layers=sum(node.op != "Gemm" and node.op != "MatMul" for node in linear),
        linear_layers=len(linear),
        depth=max((depths[index] for index in alive), default=0),
        unknown=tuple(unknown),
        squares=sum(count or 0 for count in squares.values()),
        levels=max((count for index, count in enumerate(_levels(network)) if index in alive), default=0),
        size_bytes=byte_size(network.model),
    )


def node_depths(network: Network, layers: Mapping[int, int] | None = None) -> list[int]:
    """For every node, the number of linear layers on the longest path up to and including it.

    Args:
        network: the network.
        layers: for some nodes, by index, how many linear layers they count as.
    """
    counts = layers or {}
    depths: list[int] = []
    for node in network.nodes:
        producers = [network.producer(name) for name in node.reads]
        before = max((depths[p.index] for p in producers if p is not None), default=0)
        depths.append(before + counts.get(node.index, int(is_linear(network, node))))
    return depths


def _levels(network: Network) -> list[int]:
    """For every node, the number of products on the longest path up to and including it."""
    products = {node.index: int(_is_product(network, node)) for node in network.nodes}
    return node_depths(network, products)


def _is_product(network: Network, node: Node) -> bool:
    """Whether a node multiplies what was computed: by constants, or by what was computed too."""
    if not any(name and not network.is_constant(name) for name in node.inputs):
        return False
    return is_linear(network, node) or node.is_op(*_PRODUCTS)


def is_linear(network: Network, node: Node) -> bool:
    """Whether a node is a linear layer: a convolution or a matrix product that is no constant."""
    return node.is_op(*_LINEAR) and not network.is_constant(node.outputs[0])


def is_square(network: Network, node: Node) -> bool:
    """Whether a node multiplies a computed tensor by itself: Mul(x, x), or Pow(x, 2)."""
    if not node.is_op("Mul", "Pow") or network.is_constant(node.inputs[0]):
        return False
    if node.op == "Mul":
        return node.inputs[0] == node.inputs[1]
    exponent = network.constant(node.inputs[1])
    return exponent is not None and exponent.size == 1 and float(np.ravel(exponent)[0]) == 2


def layer_macs(network: Network, node: Node) -> int | None:
    """Multiply-adds of one linear node per sample; None where a shape is not known."""
    inputs = [network.full_shape(name) for name in node.inputs[:2]]
    output = network.full_shape(node.outputs[0])
    if inputs[0] is None or inputs[1] is None or output is None:
        return None
    data, weight = inputs[0], inputs[1]
    if node.op in ("Conv", "ConvTranspose"):
        places = output if node.op == "Conv" else data
        return network.per_sample(math.prod(places) * math.prod(weight[1:]))
    if node.op == "Gemm" and node.attributes.get("transA", 0):  # samples are columns
        return math.prod(output[1:]) * data[0]
    return network.per_sample(math.prod(output) * data[-1])


def _made(network: Network, node: Node) -> int | None:
    """Elements of what a node makes, per sample; None where the shape is not known."""
    output = network.full_shape(node.outputs[0])
    return None if output is None else network.per_sample(math.prod(output))


def _pooling_comparisons(network: Network, alive: Collection[int]) -> int:
    total = 0
    for node in network.nodes:
        if node.index in alive and node.is_op("MaxPool"):
            output = network.full_shape(node.outputs[0])
            window = int(np.prod(node.attributes.get("kernel_shape", (1,)), dtype=np.int64))
            total += 0 if output is None else network.per_sample(math.prod(output)) * (window - 1)
    return total


def _parameters(graph: onnx.GraphProto) -> int:
    floating = (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    )
    tensors = list(graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            tensors.extend(a.t for a in node.attribute if a.name == "value")
    return sum(int(np.prod(t.dims, dtype=np.int64)) for t in tensors if t.data_type in floating)
