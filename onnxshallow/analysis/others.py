"""Activations that are no sites: gates, and functions that are not known or stand at the end.

They are named, and never taken for none.
"""

from collections import Counter
from collections.abc import Iterator

from onnxshallow.analysis.hidden import hidden_networks
from onnxshallow.analysis.smooth import is_before_a_layer, is_gate, kind_of, smooth_kind, ungated_kind
from onnxshallow.model.network import Network, Node
from onnxshallow.model.spelling.smooth import called

__all__ = ["other_activations"]

_GATES = ("Sigmoid", "HardSigmoid", "Tanh")
# Activations with a bias, which have two inputs.
_BIASED = ("BiasGelu", "FastGelu")
_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
# Operators that onnxruntime's optimizer writes, also those of layouts of its own.
_OF_ONNXRUNTIME = ("com.microsoft", "com.ms.internal")


def other_activations(network: Network) -> tuple[str, ...]:
    """What a network computes elementwise besides its sites, in words: `80 Sigmoid-gated activations`, `1 Tanh`.

    A gate is what a tensor is multiplied by. Nodes on which no output depends, and those that compute constants, are
    left out; those in the bodies of If, Loop and Scan are counted once each, however often they run.
    """
    found = Counter(_named(network))
    return tuple(_in_words(name, count) for name, count in found.most_common())


def _named(network: Network, last: bool = False) -> Iterator[str]:
    """What there is, by name; `last` says that a smooth function at the end of the network is a site too."""
    for node in network.nodes:
        if node.index not in network.alive or network.is_constant(node.outputs[0]):
            continue
        for hidden in hidden_networks(network, node):
            yield from _named(hidden.network, is_before_a_layer(network, node))
        if smooth_kind(network, node) is not None or (last and ungated_kind(network, node) is not None):
            continue  # a site
        if node.is_op(*_GATES):
            yield f"{node.op}-gated" if is_gate(network, node) else node.op
        elif kind_of(node) or node.is_op("Erf", "Shrink") or (node.domain == "com.microsoft" and node.op in _BIASED):
            yield called(node) or node.op
        elif _bends(network, node) and is_before_a_layer(network, node):
            yield node.op
        elif node.domain.startswith(_OF_ONNXRUNTIME) and node.attributes.get("activation"):
            yield f"{node.attributes['activation']} in {node.op}"


def _bends(network: Network, node: Node) -> bool:
    """Whether a node is nonlinear, and no site: the greater of two computed tensors, a comparison, a fold."""
    if not _is_floating(network, node.inputs[0]):  # as sizes are computed
        return False
    if node.is_op("Max", "Min"):
        return len({name for name in node.inputs if not network.is_constant(name)}) > 1
    return node.is_op("Abs", "Cos", "Exp", "Sign", "Sin", *_COMPARISONS)


def _is_floating(network: Network, tensor: str) -> bool:
    info = network.inferred.get(tensor)
    return info is not None and info.dtype is not None and info.dtype.kind == "f"


def _in_words(name: str, count: int) -> str:
    if not name.endswith("-gated"):
        return f"{count} {name}"
    return f"{count} {name} activation{'s' if count > 1 else ''}"
