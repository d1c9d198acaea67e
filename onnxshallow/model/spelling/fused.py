"""What onnxruntime's optimizer writes as one node: a layer or a bias together with the activation behind it.

FusedConv and FusedGemm have the activation as an attribute; BiasGelu and FastGelu read the bias.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, fresh

__all__ = ["fused_biases", "fused_layers"]

# What the attribute can name: attributes of that operator which the parameters stand for, in order, and the first
# version of the operators that has it.
_ACTIVATIONS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "Celu": (("alpha",), 12),
    "Clip": (("min", "max"), 7),
    "Elu": (("alpha",), 7),
    "HardSigmoid": (("alpha", "beta"), 7),
    "HardSwish": ((), 14),
    "LeakyRelu": (("alpha",), 7),
    "Relu": ((), 7),
    "Selu": (("alpha", "gamma"), 7),
    "Sigmoid": ((), 7),
    "Softplus": ((), 7),
    "Softsign": ((), 7),
    "Tanh": ((), 7),
    "ThresholdedRelu": (("alpha",), 10),
}
_BIASED = {"BiasGelu": "Gelu", "FastGelu": "FastGelu"}
_LAYERS = {"FusedConv": "Conv", "FusedGemm": "Gemm"}


def fused_layers(network: Network) -> list[Change]:
    """FusedConv and FusedGemm nodes as the layer, the sum and the activation that they stand for."""
    taken = all_names(network.model.graph)
    found = []
    for node in network.nodes:
        if node.domain != "com.microsoft" or node.op not in _LAYERS:
            continue
        name = str(node.attributes.get("activation", ""))
        parameters = _parameters(network, node, name) if name else {}
        if parameters is not None:
            new, constants = _apart(network, node, name, parameters, taken)
            found.append(Change.of(network.model.graph, [node.index], new, constants))
    return found


def fused_biases(network: Network) -> list[Change]:
    """BiasGelu nodes, and FastGelu nodes that read a bias, as the sum and the activation that they stand for."""
    taken = all_names(network.model.graph)
    found = []
    for node in network.nodes:
        if node.domain != "com.microsoft" or node.op not in _BIASED or len(node.reads) != 2:
            continue
        inner = fresh(f"{node.outputs[0]}/Add", taken)
        added = onnx.helper.make_node("Add", list(node.inputs), [inner], f"{node.name}/Add")
        gelu = onnx.helper.make_node(
            _BIASED[node.op], [inner], list(node.outputs), node.proto.name, domain="com.microsoft"
        )
        found.append(Change.of(network.model.graph, [node.index], [added, gelu]))
    return found


def _parameters(network: Network, node: Node, activation: str) -> dict[str, float] | None:
    """The attributes of a node's activation; None for one that is not known, or that the operators here lack."""
    names, version = _ACTIVATIONS.get(activation, ((), 0))
    if not version or network.opset < version:
        return None
    values = node.attributes
    if node.op == "FusedConv":
        found = dict(zip(names, values.get("activation_params", ()), strict=False))
    else:
        found = {name: values[f"activation_{name}"] for name in names if f"activation_{name}" in values}
    return found if len(found) == len(names) else None


def _apart(
    network: Network, node: Node, activation: str, parameters: Mapping[str, float], taken: set[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Layer, sum and activation, and the constants that they read; the last makes the node's output."""
    added = node.inputs[3] if node.op == "FusedConv" and len(node.inputs) > 3 else ""
    steps = [_LAYERS[node.op], *(["Add"] if added else []), *([activation] if activation else [])]
    outputs = [fresh(f"{node.outputs[0]}/{step}", taken) for step in steps[:-1]] + [node.outputs[0]]
    kept = [a for a in node.proto.attribute if not a.name.startswith("activation")]
    layer = onnx.helper.make_node(steps[0], list(node.inputs[:3]), outputs[:1], node.proto.name)
    layer.attribute.extend(kept)
    made = [layer]
    if added:
        made.append(onnx.helper.make_node("Add", [outputs[0], added], [outputs[1]], f"{node.name}/Add"))
    if not activation:
        return made, []
    as_inputs = activation == "Clip" and network.opset >= 11
    bounds = [
        onnx.numpy_helper.from_array(np.array(value, np.float32), fresh(f"{node.outputs[0]}_{name}", taken))
        for name, value in (parameters.items() if as_inputs else ())
    ]
    reads = [outputs[-2], *(tensor.name for tensor in bounds)]
    made.append(
        onnx.helper.make_node(
            activation, reads, outputs[-1:], f"{node.name}/{activation}", **({} if as_inputs else parameters)
        )
    )
    return made, bounds
