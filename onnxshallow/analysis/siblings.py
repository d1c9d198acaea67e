"""Layers in branches beside each other that share their weights: Siamese networks, the heads of a feature pyramid.

Such branches compute the same function, and a distance between their outputs means something for that alone: f(x, x)
is zero. So they have to stay alike, and are left as they are. A weight that serves again further down a branch, or in
another role, ties nothing: the layers are changed one by one, each with weights of its own. Equal copies of a weight
are one, as some exporters write one for each use, and so are an Identity or a Transpose of it.
"""

import math
from collections import defaultdict
from collections.abc import Hashable
from itertools import combinations

import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.weights import value_of

__all__ = ["SHARED", "follows_sibling", "siblings"]

SHARED = "its weights serve a branch beside it as well, and the two have to stay alike"
"""Why such a layer is left alone, as what goes on from its name."""

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# By these the heads of a feature pyramid get its further levels.
_RESIZING = ("AveragePool", "MaxPool", "Resize", "Upsample")
_COPIES = ("Cast", "DequantizeLinear", "Reshape", "Transpose")
# So many bytes at either end of two weights tell whether they are copies.
_COMPARED = 4096


def siblings(network: Network) -> frozenset[int]:
    """Indices of the nodes whose weights a layer beside them has too, between nodes of the same operators."""
    readers: dict[Hashable, list[Node]] = defaultdict(list)
    for node in network.nodes:
        if node.index in network.alive and node.is_op(*_LAYERS) and len(node.inputs) > 1:
            weight = _weight(network, node.inputs[1])
            if weight is not None:
                readers[weight].append(node)
    found: set[int] = set()
    for nodes in readers.values():
        before = {node.index: network.ancestors(node.inputs) for node in nodes[1:]}
        for first, second in combinations(nodes, 2):  # in the order of the graph
            beside = first.index not in before[second.index] and first.inputs[0] != second.inputs[0]
            if beside and _role(network, first) == _role(network, second):
                found |= {first.index, second.index}
    return frozenset(found)


def _weight(network: Network, tensor: str) -> Hashable | None:
    """What copies of a weight have in common; None for what is not stored."""
    steps = []
    maker = network.producer(tensor)
    while maker is not None and maker.is_op("Identity", *_COPIES):
        if maker.op != "Identity":
            steps.append((maker.op, str(maker.proto.attribute), maker.inputs[1:]))
        tensor = maker.inputs[0]
        maker = network.producer(tensor)
    if maker is not None and maker.is_op("Constant") and maker.proto.attribute[0].name == "value":
        return (_ends(maker.proto.attribute[0].t, tensor), *steps)
    stored = network.initializer(tensor)
    return None if stored is None else (_ends(stored, tensor), *steps)


def _ends(stored: onnx.TensorProto, name: str) -> Hashable:
    """What tells a stored weight from others: its name, where its bytes lie elsewhere or are all the same number."""
    if stored.data_location == onnx.TensorProto.EXTERNAL:
        return name
    data = stored.raw_data or value_of(stored).tobytes()
    size = len(data) // max(1, math.prod(stored.dims))
    first, last = data[:_COMPARED], data[-_COMPARED:]
    if first == last == (first[:size] * _COMPARED)[: len(first)]:
        return name
    return tuple(stored.dims), stored.data_type, first, last


def _role(network: Network, node: Node) -> tuple[str, list[str]]:
    """The operators before and behind a node, seen through what brings a map to another size."""
    before = network.producer(node.inputs[0])
    while before is not None and before.is_op(*_RESIZING):
        before = network.producer(before.inputs[0])
    behind = sorted(reader.op for reader in network.consumers(node.outputs[0]))
    return "" if before is None else before.op, behind


def follows_sibling(network: Network, tensor: str, shared: frozenset[int]) -> bool:
    """Whether a tensor is what such a layer makes, perhaps shifted, scaled or normalised."""
    node = network.producer(tensor) if shared else None
    while node is not None and node.index not in shared:
        computed = [name for name in node.reads if not network.is_constant(name)]
        node = network.producer(computed[0]) if len(computed) == 1 and not node.is_op(*_LAYERS) else None
    return node is not None
