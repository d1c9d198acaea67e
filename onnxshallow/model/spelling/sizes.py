"""Sizes that a network computes although they are known: bounds and targets that exporters read off a Shape.

    x.view(x.size(0), 6, 12, 12)      Reshape(x, [-1, 6, 12, 12])      torch.chunk(x, 2, dim=1)      Slice(x, 0, 3)
    x.squeeze(3) of an open size      If(x.size(3) == 1)                                              If(True)

What comes out the same for one sample and for two is a constant. What a Reshape gets is one too where only the first
size is twice as large for two: then that is left to the Reshape.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, with_constants
from onnxshallow.model.spelling.shape_readers import for_two_samples
from onnxshallow.model.tensors import TensorInfo

__all__ = ["are_sizes", "known_sizes"]

_READERS = ("Expand", "If", "Pad", "Reshape", "Resize", "Slice", "Split", "Tile")
_ARITHMETIC = (
    "Add", "And", "Cast", "Concat", "Constant", "Div", "Equal", "Floor", "Gather", "Greater", "Identity", "Less",
    "Mul", "Not", "Or", "Slice", "Squeeze", "Sub", "Unsqueeze",
)  # fmt: skip

_Value = NDArray[np.generic] | None


def known_sizes(network: Network) -> list[Change]:
    """Nodes that read computed sizes which are known, each with constants for these."""
    readers = [node for node in network.nodes if node.is_op(*_READERS) and _computed(network, node)]
    if not readers:
        return []
    one, two = _Sizes(network, network.inferred), _Sizes(network, for_two_samples(network))
    taken = all_names(network.model.graph)
    found = []
    for node in readers:
        names = {place: node.inputs[place] for place in _computed(network, node)}
        values = {place: _alike(network, node, one.value(name), two.value(name)) for place, name in names.items()}
        known = {place: value for place, value in values.items() if value is not None}
        if known:
            found.append(with_constants(network.model.graph, node, known, taken))
    return found


def are_sizes(network: Network, tensor: str) -> bool:
    """Whether a tensor is computed of shapes and constants alone, so that it is as long for any number of samples."""
    todo, seen = [tensor], set[str]()
    while todo:
        name = todo.pop()
        node = network.producer(name)
        if name in seen or network.is_constant(name) or (node is not None and node.is_op("Shape", "Size")):
            continue
        if node is None or not node.is_op(*_ARITHMETIC):
            return False
        seen.add(name)
        todo.extend(node.reads)
    return True


def _computed(network: Network, node: Node) -> list[int]:
    """Places of the sizes, or of the condition, that a node reads and that are no constants."""
    places = range(1) if node.is_op("If") else range(1, len(node.inputs))
    return [place for place in places if node.inputs[place] and not network.is_constant(node.inputs[place])]


def _alike(network: Network, node: Node, one: _Value, two: _Value) -> NDArray[np.generic] | None:
    """What serves for one sample and for two, of the values for each."""
    if one is None or two is None or one.shape != two.shape or one.dtype.kind not in "ifb":
        return None
    if np.array_equal(one, two):
        return one
    if not node.is_op("Reshape") or one.ndim != 1 or two[0] != 2 * one[0] or not np.array_equal(one[1:], two[1:]):
        return None
    if -1 not in one:
        first = -1 if np.all(one) else None
    else:  # the size is copied where it is the batch's
        read = network.inferred[node.inputs[0]].shape if node.inputs[0] in network.inferred else None
        first = 0 if read and read[0] == one[0] and not node.attributes.get("allowzero", 0) else None
    return None if first is None else np.concatenate([[first], one[1:]]).astype(one.dtype)


class _Sizes:
    """Computes what sizes come out where the shapes of all tensors are `infos`."""

    def __init__(self, network: Network, infos: Mapping[str, TensorInfo]) -> None:
        self._network = network
        self._infos = infos
        self._values: dict[str, _Value] = {}

    def value(self, tensor: str) -> _Value:
        """The value of a tensor that is computed of shapes and constants alone; None for others."""
        todo = [tensor]
        while todo:
            name = todo[-1]
            node = self._network.producer(name)
            if name in self._values or node is None or self._network.is_constant(name):
                self._values.setdefault(name, self._network.constant(name))
                todo.pop()
                continue
            needed = () if node.is_op("Shape") else node.reads
            missing = [each for each in needed if each not in self._values] if node.is_op(*_ARITHMETIC) else []
            if missing:
                todo.extend(missing)
                continue
            self._values[name] = self._made(node)
            todo.pop()
        return self._values[tensor]

    def _made(self, node: Node) -> _Value:
        if node.is_op("Shape"):
            return self._shape(node)
        feeds = {name: self._values.get(name) for name in node.reads}
        if not node.is_op(*_ARITHMETIC) or len(node.outputs) != 1 or any(v is None for v in feeds.values()):
            return None
        return _run(self._network, node, feeds)

    def _shape(self, node: Node) -> _Value:
        info = self._infos.get(node.inputs[0])
        if info is None or not info.is_complete or info.shape is None:
            return None
        sizes = np.array(info.shape, np.int64)
        return sizes[node.attributes.get("start", 0) : node.attributes.get("end", len(sizes))]


def _run(network: Network, node: Node, feeds: Mapping[str, _Value]) -> _Value:
    from onnx.reference import ReferenceEvaluator

    ends = ([onnx.helper.make_empty_tensor_value_info(name) for name in names] for names in (feeds, node.outputs))
    imports = network.model.opset_import
    graph = onnx.helper.make_graph([node.proto], "sizes", *ends)
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=network.model.ir_version)
    try:
        (made,) = ReferenceEvaluator(model).run(None, dict(feeds))
    except Exception:  # the reference has gaps, and nodes may be invalid; either way the value is not known
        return None
    return np.asarray(made)
