"""What stands at the end of a network before an output: a softmax and along which axis, a normalization, a layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from onnxshallow.model.network import Network, Node

__all__ = ["End", "find_end"]

_PASSING = ("Identity", "Cast", "Dropout", "Log", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
_AROUND_NORMS = ("Clip", "Max", "Add", "Expand", "Reciprocal", "Sqrt", "Pow", "Identity")

Operation = Literal["softmax", "ranked", "sigmoid", "argmax", "topk", "l2", "batchnorm", "other"]
"""What computes an output, as far as it tells what the output means."""


@dataclass(frozen=True)
class End:
    """What computes an output.

    Attributes:
        operation: in a word; `ranked` where the network itself looks for the largest along an axis.
        axis: of the output, along which that or a softmax runs.
        widths: sizes of several softmaxes that stand one after another along that axis; empty for one.
    """

    operation: Operation = "other"
    axis: int = 1
    widths: tuple[int, ...] = ()


def find_end(network: Network, output: str) -> End:
    """What computes an output, seen through nodes that only rename, reshape or cast it.

    Args:
        network: the network.
        output: name of the output.
    """
    node, passed = _last(network, output)
    end = End() if node is None else _operation(network, node, passed)
    return end if end.operation != "other" else _ranked(network, output) or end


def _operation(network: Network, node: Node, passed: Sequence[Node]) -> End:
    """What a node computes, and where its axis is after the nodes that pass its result on."""
    if node.is_op("Softmax", "LogSoftmax"):
        return _softmax(network, node, passed)
    if node.is_op("Concat"):
        return _softmaxes(network, node, passed)
    if node.is_op("Sigmoid", "HardSigmoid"):
        return End("sigmoid")
    if node.is_op("ArgMax"):
        return End("argmax")
    if node.is_op("TopK"):
        return End("topk")
    if node.is_op("BatchNormalization"):
        return End("batchnorm")
    if node.is_op("LpNormalization") or (node.is_op("Div", "Mul") and _divides_by_norm(network, node)):
        return End("l2")
    return End()


def _ranked(network: Network, output: str) -> End | None:
    """An output of which the network itself looks for the largest, or makes a softmax."""
    shape = network.shape(output)
    for node in network.consumers(output):
        if shape and node.is_op("ArgMax", "TopK", "Softmax", "LogSoftmax"):
            usual = 0 if node.op == "ArgMax" else -1 if network.opset >= 13 or node.op == "TopK" else 1
            return End("ranked", int(node.attributes.get("axis", usual)) % len(shape))
    return None


def _last(network: Network, tensor: str) -> tuple[Node | None, list[Node]]:
    """The node that computes a tensor, and what passes it on from there, in order."""
    passed: list[Node] = []
    node = network.producer(tensor)
    while node is not None and node.is_op(*_PASSING):
        passed.insert(0, node)
        node = network.producer(node.inputs[0])
    return node, passed


def _softmax(network: Network, node: Node, passed: Sequence[Node]) -> End:
    shape = network.shape(node.outputs[0])
    if shape is None:
        return End()
    axis = int(node.attributes.get("axis", -1 if network.opset >= 13 else 1)) % len(shape)
    if network.opset < 13 and any(size != 1 for size in shape[axis + 1 :]):
        return End()  # it ran over all axes from this one on
    return _followed(network, shape, End("softmax", axis), passed)


def _softmaxes(network: Network, node: Node, passed: Sequence[Node]) -> End:
    """Several softmaxes joined: along the axis of their classes, or along another, as positions."""
    names = [name for name in node.inputs if name]
    parts, sizes, shape = (
        [find_end(network, name) for name in names],
        [network.shape(name) for name in names],
        network.shape(node.outputs[0]),
    )
    axes = {part.axis for part in parts}
    if shape is None or len(axes) > 1 or any(part.operation != "softmax" or part.widths for part in parts):
        return End()
    axis = axes.pop()
    if int(node.attributes["axis"]) % len(shape) != axis:
        return _followed(network, shape, End("softmax", axis), passed)
    widths = tuple(size[axis] or 0 for size in sizes if size is not None)
    if len(widths) < len(parts) or not all(widths):
        return End()
    return _followed(network, shape, End("softmax", axis, widths), passed)


def _followed(network: Network, shape: Sequence[int | None], end: End, passed: Sequence[Node]) -> End:
    """Where the axis of a softmax is after the nodes that pass its result on.

    Args:
        network: the network.
        shape: of the result.
        end: with the axis there.
        passed: the nodes, in order.
    """
    for step in passed:
        after = network.shape(step.outputs[0])
        if after is None:
            return End()
        if step.is_op("Transpose"):
            order = list(step.attributes.get("perm", range(len(shape))[::-1]))
            end = replace(end, axis=order.index(end.axis))
        elif step.is_op("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
            place = _place_after(shape, end.axis, after)
            if place is None:
                return _joined(shape, end.axis, after) if step is passed[-1] and not end.widths else End()
            end = replace(end, axis=place)
        shape = after
    return end


def _place_after(before: Sequence[int | None], axis: int, after: Sequence[int | None]) -> int | None:
    """Where an axis is found after a change of shape, which keeps the order of elements."""
    behind = _count(before[axis + 1 :])
    for place, size in enumerate(after):
        if size == before[axis] and None not in (size, behind) and _count(after[place + 1 :]) == behind:
            return place
    return None


def _count(sizes: Sequence[int | None]) -> int | None:
    return None if None in sizes else prod(size or 0 for size in sizes)


def _joined(before: Sequence[int | None], axis: int, after: Sequence[int | None]) -> End:
    """A softmax over the last axis of (N, T, K), written as (N, T x K)."""
    last, total = before[axis], _count(after[1:])
    if axis != len(before) - 1 or not last or not total or after[1] != total:
        return End()
    return End("softmax", 1, (last,) * (total // last))


def _divides_by_norm(network: Network, node: Node) -> bool:
    """Whether a vector is divided by its length, or multiplied by the inverse of it."""
    for name in node.inputs:
        found = network.producer(name)
        while found is not None and found.is_op(*_AROUND_NORMS):
            found = network.producer(found.inputs[0])
        if found is None:
            continue
        if found.is_op("ReduceL2", "ReduceSumSquare"):
            return True
        squares = network.producer(found.inputs[0]) if found.is_op("ReduceSum") else None
        if squares is not None and squares.is_op("Mul", "Pow"):
            return squares.inputs[0] in node.inputs
    return False
