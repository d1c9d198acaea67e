"""Activations that are no sites: smooth functions, and products with a gate. They are named, never taken for none."""

from collections import Counter
from collections.abc import Iterator

from onnxshallow.model.network import Network, Node

__all__ = ["other_activations"]

_GATES = ("Sigmoid", "HardSigmoid", "Tanh")
_SMOOTH = ("Elu", "Selu", "Celu", "Gelu", "Mish", "Softplus", "Softsign", "HardSwish", "Swish", "Erf",
           "ThresholdedRelu")  # fmt: skip
# Of onnxruntime's own operators.
_CONTRIBUTED = ("Gelu", "FastGelu", "QuickGelu", "BiasGelu")


def other_activations(network: Network) -> tuple[str, ...]:
    """What a network computes elementwise besides its sites, in words: `80 Sigmoid-gated activations`, `1 Tanh`.

    A gate is what a tensor is multiplied by. Nodes on which no output depends, and those that compute constants, are
    left out; the bodies of If, Loop and Scan are not looked into.
    """
    found = Counter(_named(network))
    return tuple(_in_words(name, count) for name, count in found.most_common())


def _named(network: Network) -> Iterator[str]:
    for node in network.nodes:
        if node.index not in network.alive or network.is_constant(node.outputs[0]):
            continue
        if node.is_op(*_GATES):
            yield f"{node.op}-gated" if _gates(network, node) else node.op
        elif node.is_op(*_SMOOTH) or (node.domain == "com.microsoft" and node.op in _CONTRIBUTED):
            yield node.op


def _gates(network: Network, node: Node) -> bool:
    """Whether a product reads what a node makes, perhaps scaled or shifted by constants."""
    for reader in network.consumers(node.outputs[0]):
        if reader.is_op("Mul") and not any(network.is_constant(name) for name in reader.inputs):
            return True
    return False


def _in_words(name: str, count: int) -> str:
    if not name.endswith("-gated"):
        return f"{count} {name}"
    return f"{count} {name} activation{'s' if count > 1 else ''}"
