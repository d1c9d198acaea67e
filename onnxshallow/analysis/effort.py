"""How much work a network is for a processor core: an estimate from shapes alone, the same on every machine.

Multiply-adds do not tell. A kernel of 5x5 for two of 3x3 has 1.4 times as many and takes twice as long on small maps,
24 channels take as long as 32 and 30 longer, a node that only moves its input is not free, and an activation in parts
breaks what else is done while a layer writes its output. So everything is put in the multiply-adds of a 3x3
convolution with many channels that take as long. The constants are measured: onnxruntime 1.32, one core with vectors
of 16 floats (docs/decisions/faster-of-equals.md).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from onnxshallow.analysis.attributes import spatial_attribute
from onnxshallow.analysis.cost import is_linear, layer_macs
from onnxshallow.model.network import Network, Node

__all__ = ["LayerShape", "count_effort", "layer_effort"]

# Channels are computed so many at a time.
_VECTOR = 16
# How many times as long a multiply-add takes in wider kernels, by the taps of a row and the width of the map.
_WIDER = {5: {4: 1.0, 8: 1.55, 16: 1.1, 32: 1.25}, 7: {4: 0.85, 8: 1.75, 16: 1.5, 32: 1.35}}
# The same where few blocks of channels are made, by their number; where each channel is read by itself; and where
# what is read cannot be cut into quarters of a block.
_FEW_BLOCKS, _DEPTHWISE, _RAGGED = {1: 1.6, 2: 1.15}, 3.5, 1.6
# Multiply-adds that take as long as a node by itself, and as one element of it: of nodes that work on blocks of
# channels, as layers make them, and of all others, around which the blocks are taken apart and put together.
_IN_BLOCKS = ("Add", "Sum", "Sub", "Mul", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu")
_BLOCKED, _OTHER, _LAYER = (30_000, 12), (80_000, 22), 40_000
# Elements of these take longer.
_SLOW = {"Max": 40, "PRelu": 80}
# A sum with what a layer makes is done while that is written, but takes reading the other side.
_FUSED_SUM = 5
# These are done while a layer or such a sum writes its output.
_ACTIVATIONS = ("Relu", "Clip")
# These do nothing, or go into a layer.
_FREE = ("BatchNormalization", "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout")


@dataclass(frozen=True)
class LayerShape:
    """What the time of a convolution depends on.

    Attributes:
        kernel: its taps along each axis.
        strides: along each axis.
        dilations: along each axis.
        groups: of channels.
        inputs: channels that it reads.
        outputs: channels that it makes.
        read: spatial sizes of what it reads.
        made: spatial sizes of what it makes.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int
    inputs: int
    outputs: int
    read: tuple[int, ...]
    made: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds for one sample."""
        return math.prod((*self.kernel, *self.made, self.outputs, self.inputs)) // self.groups


def layer_effort(shape: LayerShape) -> float:
    """A convolution in multiply-adds of a 3x3 convolution with many channels."""
    return _LAYER + shape.macs * _slowness(shape)


def count_effort(network: Network, of_layer: Callable[[LayerShape], float] = layer_effort) -> float:
    """What one sample is to one core, in multiply-adds of a 3x3 convolution; nodes of unknown shape count as zero.

    Args:
        network: the network.
        of_layer: what a convolution counts as.
    """
    nodes = [node for node in network.nodes if node.index in network.alive]
    return sum(_effort(network, node, of_layer) for node in nodes if not network.is_constant(node.outputs[0]))


def _effort(network: Network, node: Node, of_layer: Callable[[LayerShape], float]) -> float:
    if is_linear(network, node):
        shape = _layer_shape(network, node)
        return _LAYER + (layer_macs(network, node) or 0) if shape is None else of_layer(shape)
    before = _maker(network, node.inputs[0]) if node.inputs else None
    written_with = before is not None and (is_linear(network, before) or _is_fused_sum(network, before))
    if node.is_op(*_FREE) or (node.is_op(*_ACTIVATIONS) and written_with):
        return 0.0
    elements = max(_elements(network, node.inputs[0]) if node.inputs else 0, _elements(network, node.outputs[0]))
    if _is_fused_sum(network, node):
        constant = any(network.is_constant(name) for name in node.inputs)
        return 0.0 if constant else float(_FUSED_SUM * elements)
    alone, each = _BLOCKED if node.is_op(*_IN_BLOCKS) else _OTHER
    return float(alone + _SLOW.get(node.op, each) * elements)


def _is_fused_sum(network: Network, node: Node) -> bool:
    """Whether a sum, or a product by constants, is done while a layer that nothing else reads writes its output."""
    if not node.is_op("Add", "Sum", "Mul") or len(node.inputs) != 2:
        return False
    if node.op == "Mul" and not any(network.is_constant(name) for name in node.inputs):
        return False
    private = [name for name in node.inputs if not network.is_constant(name) and network.is_private(name)]
    makers = (_maker(network, name) for name in private)
    return any(maker is not None and maker.op == "Conv" for maker in makers)


def _maker(network: Network, tensor: str) -> Node | None:
    """What makes a tensor, but for BatchNormalizations and what does nothing in between."""
    node = network.producer(tensor)
    while node is not None and node.is_op("BatchNormalization", "Identity", "Dropout"):
        node = network.producer(node.inputs[0])
    return node


def _elements(network: Network, tensor: str) -> int:
    """Elements of a tensor for one sample; zero where the shape is not known."""
    shape = network.full_shape(tensor)
    return 0 if shape is None else network.per_sample(math.prod(shape))


def _layer_shape(network: Network, node: Node) -> LayerShape | None:
    """The shape of a convolution; None for other layers, and where it is not known."""
    data, weight, made = (network.full_shape(name) for name in (*node.inputs[:2], node.outputs[0]))
    if node.op != "Conv" or data is None or weight is None or made is None:
        return None
    rank, groups = len(weight) - 2, int(node.attributes.get("group", 1))
    strides, dilations = (spatial_attribute(node, name, rank) for name in ("strides", "dilations"))
    kernel, read, written = (tuple(shape[2:]) for shape in (weight, data, made))
    return LayerShape(kernel, strides, dilations, groups, weight[1] * groups, weight[0], read, written)


def _slowness(shape: LayerShape) -> float:
    """How many times as long a multiply-add of this layer takes."""
    if shape.groups == shape.inputs > 1:
        return _DEPTHWISE * _filled(shape.outputs)
    dense = shape.groups == 1 and shape.inputs > _VECTOR
    idle = _filled(shape.outputs) * (_filled(shape.inputs) if dense else 1.0)
    ragged = _RAGGED if dense and shape.inputs % (_VECTOR // 4) else 1.0
    few = _FEW_BLOCKS.get(math.ceil(shape.outputs / shape.groups / _VECTOR), 1.0)
    return idle * ragged * few * _wider(shape.kernel[-1], shape.made[-1])


def _wider(taps: int, width: int) -> float:
    """What is measured for the nearest kernel and map."""
    if taps < 5:
        return 1.0
    by_width = _WIDER[min(taps, 7) // 2 * 2 + 1]
    return by_width[min(by_width, key=lambda known: abs(math.log2(known / width)))]


def _filled(channels: int) -> float:
    """How much more is computed than there are channels."""
    return math.ceil(channels / _VECTOR) * _VECTOR / channels
