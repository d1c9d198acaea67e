"""Activations that are no sites: gates, and functions that are not known or stand at the end.

They are named, and never taken for none.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from onnxshallow.analysis.hidden import hidden_networks
from onnxshallow.analysis.smooth import is_before_a_layer, is_gate, kind_of, smooth_kind, ungated_kind
from onnxshallow.model.network import Network, Node
from onnxshallow.model.spelling.smooth import called

__all__ = ["other_activations"]

_GATES = ("Sigmoid", "HardSigmoid", "Tanh")
# Activations with a bias, which have two inputs.
_BIASED = ("BiasGelu", "FastGelu")
_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
# Where what quantizes has the zero point of its output.
_ZERO_POINTS = {"QLinearAdd": 7, "QLinearConv": 7, "QLinearMatMul": 7, "QuantizeLinear": 2}
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
        elif _cuts_off(network, node):
            yield f"Relu in {node.op}"
        elif node.domain.startswith(_OF_ONNXRUNTIME) and node.attributes.get("activation"):
            yield f"{node.attributes['activation']} in {node.op}"


def _bends(network: Network, node: Node) -> bool:
    """Whether a node is nonlinear, and no site: the greater of two computed tensors, a comparison, a fold."""
    if not _is_floating(network, node.inputs[0]):  # as sizes are computed
        return False
    if node.is_op("Max", "Min"):
        return len({name for name in node.inputs if not network.is_constant(name)}) > 1
    return node.is_op("Abs", "Cos", "Exp", "Sign", "Sin", *_COMPARISONS)


def _cuts_off(network: Network, node: Node) -> bool:
    """Whether what quantizes has no code for negative numbers, into which quantizers put a Relu that stood before."""
    place = _ZERO_POINTS.get(node.op)
    if place is None or node.domain not in ("", "ai.onnx", "com.microsoft") or not _is_least(network, node, place):
        return False
    if node.op == "QuantizeLinear":
        return _is_signed(network, node.inputs[0])
    if node.op != "QLinearAdd":
        return True
    shifted = any(network.is_constant(node.inputs[place]) for place in (0, 3))
    return not shifted and not (_is_least(network, node, 2) and _is_least(network, node, 5))


def _is_least(network: Network, node: Node, place: int) -> bool:
    """Whether the zero point that a node reads at a place is the least number of its type."""
    if len(node.inputs) <= place or not node.inputs[place]:
        return not node.attributes.get("output_dtype", 0)
    zero = network.constant(node.inputs[place])
    return zero is not None and zero.dtype.kind in "iu" and bool(np.all(zero == np.iinfo(zero.dtype).min))


def _is_signed(network: Network, tensor: str) -> bool:
    """Whether a tensor may well hold negative numbers: what a layer makes, or what stands for such a thing."""
    maker = network.producer(tensor)
    if maker is None:
        return False
    if maker.is_op("Add"):  # what a constant shifts may be of one sign
        shifted = any(network.is_constant(name) for name in maker.inputs)
        return not shifted and any(_is_signed(network, name) for name in maker.inputs)
    if maker.is_op("DequantizeLinear"):
        return not _is_least(network, maker, 2)
    return maker.is_op("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul")


def _is_floating(network: Network, tensor: str) -> bool:
    info = network.inferred.get(tensor)
    return info is not None and info.dtype is not None and info.dtype.kind == "f"


def _in_words(name: str, count: int) -> str:
    if not name.endswith("-gated"):
        return f"{count} {name}"
    return f"{count} {name} activation{'s' if count > 1 else ''}"
