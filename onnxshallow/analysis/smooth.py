"""Smooth activations, and hard forms of them, that are sites like a ReLU.

A Sigmoid or Tanh is one where its output is multiplied with nothing that is computed, as a gate is, and where layers
follow, as behind the network's last one it says what an output means.
"""

from typing import Literal

from onnxshallow.model.network import Network, Node
from onnxshallow.model.spelling.smooth import called

__all__ = ["Smooth", "is_before_a_layer", "is_gate", "keeps_zero", "kind_of", "smooth_kind", "ungated_kind"]

Smooth = Literal["celu", "elu", "fast_gelu", "gelu", "hard_sigmoid", "hard_swish", "log_sigmoid", "mish",
                 "quick_gelu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
                 "thresholded_relu"]  # fmt: skip

_OPERATORS: dict[str, Smooth] = {
    "Celu": "celu",
    "Elu": "elu",
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish",
    "Mish": "mish",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Swish": "silu",
    "Tanh": "tanh",
    "ThresholdedRelu": "thresholded_relu",
}
_CALLED: dict[str, Smooth] = {
    "Elu": "elu",
    "FastGelu": "fast_gelu",
    "Gelu": "gelu",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish",
    "LogSigmoid": "log_sigmoid",
    "Mish": "mish",
    "QuickGelu": "quick_gelu",
    "Selu": "selu",
    "Sigmoid": "sigmoid",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Tanh": "tanh",
}
_CONTRIBUTED = ("FastGelu", "Gelu", "QuickGelu")
_NO_ZERO: tuple[Smooth, ...] = ("hard_sigmoid", "log_sigmoid", "sigmoid", "softplus")
# What hands a gate on.
_MOVING = ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze")
_ARITHMETIC = ("Add", "Div", "Mul", "Sub")
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def kind_of(node: Node) -> Smooth | None:
    """The smooth function that a node computes, wherever it stands; None for other nodes."""
    if node.domain == "com.microsoft" and node.op in _CONTRIBUTED and len(node.reads) == 1:
        return _CALLED[node.op]
    return _OPERATORS[node.op] if node.is_op(*_OPERATORS) else _CALLED.get(called(node) or "")


def smooth_kind(network: Network, node: Node) -> Smooth | None:
    """The smooth activation that a node is; None for other nodes, for gates, and behind the last layer."""
    kind = ungated_kind(network, node)
    return kind if kind is not None and is_before_a_layer(network, node) else None


def ungated_kind(network: Network, node: Node) -> Smooth | None:
    """The smooth function that a node computes, wherever it stands; None for other nodes, and for gates."""
    kind = kind_of(node)
    return None if kind in ("sigmoid", "tanh") and is_gate(network, node) else kind


def keeps_zero(kind: str) -> bool:
    """Whether an activation of a kind makes zero of zero."""
    return kind not in _NO_ZERO


def is_gate(network: Network, node: Node) -> bool:
    """Whether a product reads what a node makes, perhaps in another shape, or scaled or shifted by constants."""
    for reader in network.consumers(node.outputs[0]):
        constant = any(network.is_constant(name) for name in reader.inputs)
        if reader.is_op("Mul") and not constant:
            return True
        if (reader.is_op(*_MOVING) or (constant and reader.is_op(*_ARITHMETIC))) and is_gate(network, reader):
            return True
    return False


def is_before_a_layer(network: Network, node: Node) -> bool:
    """Whether layers follow a node, near or far."""
    seen, todo = set[int](), [node]
    while todo:
        for reader in (each for name in todo.pop().outputs for each in network.consumers(name)):
            if reader.is_op(*_LAYERS):
                return True
            if reader.index not in seen:
                seen.add(reader.index)
                todo.append(reader)
    return False
