"""FusedConv and FusedGemm, which onnxruntime's optimizer writes: a layer with its activation as an attribute."""

from collections.abc import Sequence

import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, fresh

__all__ = ["fused_layers"]

# What the attribute can name, and the attributes of that operator which its parameters stand for.
_PARAMETERS = {"Relu": (), "Tanh": (), "Sigmoid": (), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
_LAYERS = {"FusedConv": "Conv", "FusedGemm": "Gemm"}


def fused_layers(network: Network) -> list[Change]:
    """FusedConv and FusedGemm nodes as the layer, the sum and the activation that they stand for."""
    taken = all_names(network.model.graph)
    found = []
    for node in network.nodes:
        if node.domain != "com.microsoft" or node.op not in _LAYERS:
            continue
        name, parameters = _activation(node)
        if name and (name not in _PARAMETERS or len(parameters) < len(_PARAMETERS[name])):
            continue
        found.append(Change.of(network.model.graph, [node.index], _apart(node, name, parameters, taken)))
    return found


def _activation(node: Node) -> tuple[str, Sequence[float]]:
    """The name and the parameters of a node's activation."""
    values = node.attributes
    if node.op == "FusedConv":
        return str(values.get("activation", "")), values.get("activation_params", ())
    parameters = [values[key] for key in ("activation_alpha", "activation_beta") if key in values]
    return str(values.get("activation", "")), parameters


def _apart(node: Node, activation: str, parameters: Sequence[float], taken: set[str]) -> list[onnx.NodeProto]:
    """Layer, sum and activation; each makes a tensor of its own, the last the node's output."""
    added = node.inputs[3] if node.op == "FusedConv" and len(node.inputs) > 3 else ""
    steps = [_LAYERS[node.op], *(["Add"] if added else []), *([activation] if activation else [])]
    outputs = [fresh(f"{node.outputs[0]}/{step}", taken) for step in steps[:-1]] + [node.outputs[0]]
    kept = [a for a in node.proto.attribute if not a.name.startswith("activation")]
    layer = onnx.helper.make_node(steps[0], list(node.inputs[:3]), outputs[:1], node.proto.name)
    layer.attribute.extend(kept)
    made = [layer]
    for step, source, output in zip(steps[1:], outputs[:-1], outputs[1:], strict=True):
        names = _PARAMETERS[step] if step == activation else ()
        values = dict(zip(names, parameters, strict=False))
        reads = [source, added] if step == "Add" and step != activation else [source]
        made.append(onnx.helper.make_node(step, reads, [output], f"{node.name}/{step}", **values))
    return made
