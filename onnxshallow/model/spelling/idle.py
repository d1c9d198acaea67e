"""Nodes that do nothing, written as Identity: exporters and converters leave them between layers.

Cast to the same type                 Reshape to the same shape
Transpose there and back              Unsqueeze and Squeeze of the same axes

What no output depends on is left out, as it would stand in the way of its neighbours.
"""

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import infer_shapes
from onnxshallow.model.spelling.changes import Change

__all__ = ["idle_nodes", "unread_nodes"]


def idle_nodes(network: Network) -> list[Change]:
    """Nodes, and pairs of nodes, that return what they read; no node is in two of these."""
    found = []
    gone: set[int] = set()
    busy: set[int] = set()
    for node in network.nodes:
        if node.index not in network.alive or network.is_constant(node.outputs[0]):
            continue
        before = network.producer(node.inputs[0]) if node.inputs else None
        if before is not None and before.index in busy:
            continue  # in the next round, so that the last pair takes it along
        if before is not None and before.index not in gone and _undoes(network, before, node):
            busy.add(before.index)
            source = before.inputs[0]
            places = {node.index} | ({before.index} if network.is_private(node.inputs[0]) else set())
        elif _is_idle(network, node):
            source, places = node.inputs[0], {node.index}
        else:
            continue
        gone |= places
        identity = onnx.helper.make_node("Identity", [source], [node.outputs[0]], node.proto.name)
        found.append(Change.of(network.model.graph, places, [identity]))
    return found


def unread_nodes(network: Network) -> list[Change]:
    """Nodes on which no output depends, each with nothing in its place."""
    return [
        Change.of(network.model.graph, [node.index], []) for node in network.nodes if node.index not in network.alive
    ]


def _is_idle(network: Network, node: Node) -> bool:
    """Whether one node returns what it reads."""
    infos = network.inferred
    if not node.is_op("Cast", "CastLike", "Reshape") or any(
        name not in infos or infos[name].dtype is None for name in (node.inputs[0], node.outputs[0])
    ):
        return False
    before, after = infos[node.inputs[0]], infos[node.outputs[0]]
    if node.op != "Reshape":
        return before.dtype == after.dtype
    target = network.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if target is None or not target.size or (node.attributes.get("allowzero", 0) and not np.all(target)):
        return False
    if not before.is_complete or before.shape != after.shape:
        return False
    if target[0] == -1:
        return _has_batch_first(network, node.inputs[0])
    sizes = [size for info in network.inputs for size in info.shape or (None,)]
    return bool(target[0] == 0 or all(isinstance(size, int) for size in sizes))


def _has_batch_first(network: Network, tensor: str) -> bool:
    """Whether a tensor of twice as many samples is twice as long, and as large along its other axes.

    Shapes are inferred for a batch of one, by which alone an axis cannot be told from the batch.
    """
    doubled = {
        info.name: [2, *(size for size in info.shape[1:] if isinstance(size, int))]
        for info in network.inputs
        if info.shape and not isinstance(info.shape[0], int)
    }
    if any(len(doubled.get(info.name, info.shape or ())) != len(info.shape or ()) for info in network.inputs):
        return False  # further axes are open
    one = network.inferred[tensor].shape or ()
    two = infer_shapes(network.model, doubled).get(tensor)
    return two is not None and bool(one) and two.shape in ((one[0], *one[1:]), (2 * int(one[0] or 0), *one[1:]))


def _undoes(network: Network, first: Node, second: Node) -> bool:
    """Whether the second node takes back what the first does."""
    if first.is_op("Transpose") and second.is_op("Transpose"):
        one, two = (node.attributes.get("perm") for node in (first, second))
        if one is None or two is None:
            return one is None and two is None  # both turn the axes around
        return [one[axis] for axis in two] == list(range(len(one)))
    pair = (first.op, second.op)
    if pair not in (("Unsqueeze", "Squeeze"), ("Squeeze", "Unsqueeze")) or first.domain != second.domain:
        return False
    one, two = (_axes(network, node) for node in (first, second))
    return one is not None and one == two


def _axes(network: Network, node: Node) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze, ascending; None where they are not known, or counted from the end."""
    given = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and (value := network.constant(node.inputs[1])) is not None:
        given = np.ravel(value).tolist()
    return sorted(given) if given and min(given) >= 0 else None
