"""Layers whose channels are on the last axis, written with the channels on axis 1.

    MatMul(x (N, H, W, C), weights)                  Transpose, Conv 1x1, Transpose;  likewise of (N, L, C)
    Transpose to (N, H, W, C), then Relu             Relu, then Transpose;            likewise Add of a bias, ...

So Transposes move down until one undoes the other (`onnxshallow.model.spelling.idle`), and what stood between two
layers, or between two Transposes, is a chain like any other. What is not changed is put back as it stood.
"""

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, fresh

__all__ = ["channels_first", "sunk_transposes"]

# From channels on axis 1 to channels on the last axis, by the number of axes, and the way back.
_TO_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
_TO_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2)}
_UNARY = (
    "Abs", "Cast", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
    "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
)  # fmt: skip
_BROADCAST = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum")


def channels_first(network: Network) -> list[Change]:
    """MatMul nodes that map the last axis by constant weights, as 1x1 convolutions between Transposes."""
    taken = all_names(network.model.graph)
    found = []
    for node in network.nodes:
        if not node.is_op("MatMul") or network.is_constant(node.inputs[0]):
            continue
        weight, info = network.constant(node.inputs[1]), network.inferred.get(node.inputs[0])
        axes = None if info is None or info.shape is None else len(info.shape)
        if weight is None or weight.ndim != 2 or weight.dtype.kind != "f" or axes not in _TO_LAST:
            continue
        output = node.outputs[0]
        read, made, name = (fresh(f"{output}/{what}", taken) for what in ("read", "made", "kernel"))
        kernel = np.ascontiguousarray(weight.T.reshape(*weight.shape[::-1], *(1,) * (axes - 2)))
        new = [
            onnx.helper.make_node(
                "Transpose", [node.inputs[0]], [read], f"{node.name}/to_first", perm=_TO_FIRST[axes]
            ),
            onnx.helper.make_node("Conv", [read, name], [made], node.proto.name),
            onnx.helper.make_node("Transpose", [made], [output], f"{node.name}/to_last", perm=_TO_LAST[axes]),
        ]
        stored = onnx.numpy_helper.from_array(kernel, name)
        found.append(Change.of(network.model.graph, [node.index], new, [stored]))
    return found


def sunk_transposes(network: Network) -> list[Change]:
    """Elementwise nodes that read what was transposed to channels last, each with the Transpose behind it."""
    taken = all_names(network.model.graph)
    found, busy = [], set[int]()
    for node in network.nodes:
        if node.is_op(*_UNARY):
            moved = node.inputs[:1]
        elif node.is_op(*_BROADCAST):
            moved = node.inputs
        else:
            continue
        before = [_transposed(network, name) for name in moved]
        transposes = {each.index for each in before if each is not None}
        axes = {len(each.attributes["perm"]) for each in before if each is not None}
        if len(axes) != 1 or len(node.outputs) != 1 or transposes & busy:
            continue
        change = _sunk(network, node, before, axes.pop(), taken)
        if change is not None:
            busy |= transposes  # another reader has its turn in the next round, and the last one takes it along
            found.append(change)
    return found


def _transposed(network: Network, tensor: str) -> Node | None:
    """The Transpose to channels last that makes a tensor."""
    node = network.producer(tensor)
    if node is None or not node.is_op("Transpose") or network.is_constant(tensor):
        return None
    order = tuple(node.attributes.get("perm", ()))
    return node if order and order == _TO_LAST.get(len(order)) else None


def _sunk(network: Network, node: Node, before: list[Node | None], axes: int, taken: set[str]) -> Change | None:
    """A node on what Transposes read, and a Transpose behind it; None where it reads what cannot be turned."""
    inputs, stored, places = list(node.inputs), [], {node.index}
    for place, transpose in enumerate(before):
        name = node.inputs[place]
        if transpose is not None:
            inputs[place] = transpose.inputs[0]
            if {each.index for each in network.consumers(name)} == {node.index} and not network.is_output(name):
                places.add(transpose.index)
            continue
        value = network.constant(name)
        if value is None or value.ndim > axes:
            return None
        if value.size > 1:
            inputs[place] = fresh(f"{node.outputs[0]}/turned", taken)
            turned = value.reshape((1,) * (axes - value.ndim) + value.shape).transpose(_TO_FIRST[axes])
            stored.append(onnx.numpy_helper.from_array(np.ascontiguousarray(turned), inputs[place]))
    inner = onnx.NodeProto.FromString(node.proto.SerializeToString())
    made = fresh(f"{node.outputs[0]}/first", taken)
    inner.input[:], inner.output[:], inner.name = inputs, [made], node.name
    behind = onnx.helper.make_node(
        "Transpose", [made], list(node.outputs), f"{node.name}/to_last", perm=_TO_LAST[axes]
    )
    return Change.of(network.model.graph, places, [inner, behind], stored)
