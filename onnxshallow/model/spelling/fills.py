"""Tensors of one number in the shape of another, as `zeros_like` and `full_like` are exported.

Max(x, ConstantOfShape(Shape(x))) reads the number alone, and so does Where(x > 0, x, Expand(0, Shape(x))).
"""

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, with_constants

__all__ = ["fills"]

_READERS = (
    "Add", "Div", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mul", "PRelu", "Pow", "Sub",
    "Where",
)  # fmt: skip


def fills(network: Network) -> list[Change]:
    """Elementwise nodes that read a tensor beside one number in its shape, each with that number alone."""
    taken = all_names(network.model.graph)
    found = []
    for node in network.nodes:
        if not node.is_op(*_READERS) or network.opset < 7:
            continue
        numbers = {place: _number(network, name, node) for place, name in enumerate(node.inputs)}
        known = {place: value for place, value in numbers.items() if value is not None}
        if known:
            found.append(with_constants(network.model.graph, node, known, taken))
    return found


def _number(network: Network, tensor: str, reader: Node) -> np.ndarray | None:
    """The one number, of shape (), that a tensor holds in the shape of another that `reader` reads."""
    node = network.producer(tensor)
    if node is None or network.is_constant(tensor) or not node.is_op("ConstantOfShape", "Expand"):
        return None
    shape = network.producer(node.inputs[-1])
    if shape is None or not shape.is_op("Shape") or _is_part(shape) or shape.inputs[0] not in reader.inputs:
        return None
    if node.op == "Expand":
        value = network.constant(node.inputs[0])
        return None if value is None or value.size != 1 else value.reshape(())
    given = node.attributes.get("value")
    value = np.zeros(1, np.float32) if given is None else np.asarray(onnx.numpy_helper.to_array(given))
    return value.reshape(())


def _is_part(shape: Node) -> bool:
    """Whether a Shape gives a part of the sizes only."""
    return bool(shape.attributes.get("start", 0)) or "end" in shape.attributes
