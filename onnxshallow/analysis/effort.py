"""How much work a network is for a processor core: an estimate from shapes alone, the same on every machine.

Multiply-adds do not tell. A kernel of 5x5 for two of 3x3 has 1.4 times as many and takes twice as long on small maps,
24 channels take as long as 32, and a node that only scales its input is not free. So everything is put in the
multiply-adds of a 3x3 convolution with many channels that take as long. The constants are measured: onnxruntime 1.32,
one core with vectors of 16 floats (docs/decisions/faster-of-equals.md).
"""

import math

from onnxshallow.analysis.cost import is_linear, layer_macs
from onnxshallow.model.network import Network, Node

__all__ = ["count_effort"]

# Channels are computed so many at a time.
_VECTOR = 16
# How many times as long a multiply-add takes in wider kernels, by the taps of a row and the width of the map.
_WIDER = {5: {4: 1.0, 8: 1.55, 16: 1.1, 32: 1.25}, 7: {4: 0.85, 8: 1.75, 16: 1.5, 32: 1.35}}
# Multiply-adds that take as long as one element through a node that is no layer, and as a node by itself.
_PER_ELEMENT, _PER_NODE = 20, 40_000
# These are done while a layer writes its output, or do nothing.
_FREE = ("Relu", "Clip", "BatchNormalization", "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout")


def count_effort(network: Network) -> float:
    """What one sample is to one core, in multiply-adds of a 3x3 convolution; nodes of unknown shape count as zero."""
    nodes = [node for node in network.nodes if node.index in network.alive]
    return sum(_effort(network, node) for node in nodes if not network.is_constant(node.outputs[0]))


def _effort(network: Network, node: Node) -> float:
    if is_linear(network, node):
        return _PER_NODE + (layer_macs(network, node) or 0) * _slowness(network, node)
    if node.is_op(*_FREE):
        return 0.0
    made = network.full_shape(node.outputs[0])
    return _PER_NODE + _PER_ELEMENT * (0 if made is None else network.per_sample(math.prod(made)))


def _slowness(network: Network, node: Node) -> float:
    """How many times as long a multiply-add of this layer takes."""
    weight, made = (network.full_shape(name) for name in (node.inputs[1], node.outputs[0]))
    if node.op != "Conv" or weight is None or made is None:
        return 1.0
    groups = node.attributes.get("group", 1)
    outputs, inputs = weight[0], weight[1] * groups
    idle = _filled(outputs) * (_filled(inputs) if groups == 1 and inputs > _VECTOR else 1.0)
    return idle * _wider(weight[-1], made[-1])


def _wider(taps: int, width: int) -> float:
    """What is measured for the nearest kernel and map."""
    if taps < 5:
        return 1.0
    by_width = _WIDER[min(taps, 7) // 2 * 2 + 1]
    return by_width[min(by_width, key=lambda known: abs(math.log2(known / width)))]


def _filled(channels: int) -> float:
    """How much more is computed than there are channels."""
    return math.ceil(channels / _VECTOR) * _VECTOR / channels
