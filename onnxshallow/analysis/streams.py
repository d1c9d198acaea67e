"""Streams: tensors that a permutation of their channels has to reach together.

A sum adds channel to channel, and so do an activation, a pooling or a depthwise convolution keep channels apart: what
they read and make has one order of channels. A dense layer mixes them, so that it can take any order in and give any
out: it ends a stream. So does a Concat, or a Pad that adds channels of zeros, as some shortcuts do; where orders
change, what it makes is gathered anew. A stream is free if nothing but such nodes touches it; then its channels can
be permuted, and some of them left out.
"""

from dataclasses import dataclass

import numpy as np

from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.attributes import axes_of, slices_of, zero_padding
from onnxshallow.analysis.layers import Layer
from onnxshallow.model.network import Network, Node

__all__ = [
    "ARITHMETIC",
    "Stream",
    "adds_channels",
    "channel_axis",
    "find_streams",
    "is_depthwise",
    "joins_channels",
    "keeps_channels",
]

ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "PRelu")
"""Operators that broadcast several tensors, some of which may be constants, against each other."""

_ELEMENTWISE = (
    "Relu", "Clip", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Erf",
    "Neg", "Abs", "Exp", "Sqrt", "Floor", "Ceil", "Cast",
)  # fmt: skip
_POOLINGS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
_OF_AXES = ("Squeeze", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")


@dataclass(frozen=True, eq=False)
class Stream:
    """Tensors of one order of channels, which may be changed.

    Attributes:
        tensors: their names.
        channels: how many channels they have; a flattened tensor has a run of elements for each.
    """

    tensors: tuple[str, ...]
    channels: int


def find_streams(analysis: Analysis) -> dict[str, Stream]:
    """The free streams of a network, by each of their tensors."""
    from scipy.cluster.hierarchy import DisjointSet  # late, since importing it takes long

    network, layers = analysis.network, analysis.layers
    ties: DisjointSet[str] = DisjointSet()
    fixed = {*network.output_names, *(info.name for info in network.inputs)}
    for node in network.nodes:
        if network.is_constant(node.outputs[0]):
            continue
        layer = layers.by_node.get(node.index)
        if layer is None:
            tied = _tied_by_node(analysis, node)
            touched = (*node.reads, *(name for name in node.outputs if name))
        elif layer.main != node.index:
            continue  # what lies within a layer is written with it
        else:
            touched = (layer.source, layer.output)
            tied = _tied_by_layer(analysis, layer)
        for first, *others in tied or ():
            ties.add(first)
            for name in others:
                ties.add(name)
                ties.merge(first, name)
        if tied is None:
            fixed.update(touched)
    tied_tensors: dict[str, list[str]] = {}
    for name in ties:  # in the order in which they were met
        tied_tensors.setdefault(ties[name], []).append(name)
    streams: dict[str, Stream] = {}
    for tensors in tied_tensors.values():
        stream = _stream(network, tuple(tensors)) if fixed.isdisjoint(tensors) else None
        if stream is not None:
            streams.update(dict.fromkeys(tensors, stream))
    return streams


def _stream(network: Network, tensors: tuple[str, ...]) -> Stream | None:
    """None where a tensor has no maker whose weights could be changed, or no known number of channels."""
    shapes = [network.shape(name) for name in tensors]
    sizes = [shape[1] for shape in shapes if shape is not None and len(shape) > 1 and shape[1]]
    if len(sizes) < len(tensors) or any(network.producer(name) is None for name in tensors):
        return None
    return Stream(tensors, min(size or 0 for size in sizes))


def is_depthwise(analysis: Analysis, layer: Layer) -> bool:
    """Whether each channel that a layer makes is made of the same channel that it reads."""
    groups = analysis.layers.groups(layer)
    return groups > 1 and groups == layer.weight_shape[0] and layer.weight_shape[1] == 1


def _tied_by_layer(analysis: Analysis, layer: Layer) -> tuple[tuple[str, ...], ...] | None:
    """The tensors, in groups of one order, at the ends of a layer; None for a layer that fixes their order."""
    if not layer.is_light:
        return None
    if is_depthwise(analysis, layer):
        return ((layer.source, layer.output),)
    return ((layer.source,), (layer.output,)) if analysis.layers.groups(layer) == 1 else None


def _tied_by_node(analysis: Analysis, node: Node) -> tuple[tuple[str, ...], ...] | None:
    """Like `_tied_by_layer`, of a node that belongs to no layer."""
    network = analysis.network
    if any(network.consumers(name) or network.is_output(name) for name in node.outputs[1:] if name):
        return None
    if node.is_op(*ARITHMETIC):
        return _tied_by_arithmetic(network, node)
    if adds_channels(network, node) or joins_channels(network, node):
        return tuple((name,) for name in (*node.inputs, node.outputs[0]) if not network.is_constant(name))
    alike = node.is_op(*_ELEMENTWISE, *_POOLINGS) or is_passthrough(network, node)
    alike = alike or node.index in analysis.site_of_node
    return ((node.inputs[0], node.outputs[0]),) if alike or keeps_channels(network, node) else None


def _tied_by_arithmetic(network: Network, node: Node) -> tuple[tuple[str, ...], ...] | None:
    made = network.shape(node.outputs[0])
    if made is None or len(made) < 2 or not made[1]:
        return None
    tied = [node.outputs[0]]
    for name in node.inputs:
        if network.is_constant(name):
            value = network.constant(name)
            if value is None or value.ndim > len(made) or channel_axis(value, len(made)) not in (None, made[1]):
                return None
            continue
        read = network.shape(name)
        if read is None or len(read) != len(made) or read[1] not in (1, made[1]):
            return None
        if read[1] == made[1]:
            tied.append(name)
    return (tuple(tied),)


def channel_axis(value: np.ndarray, axes: int) -> int | None:
    """Size of the channel axis of a constant that is broadcast against a tensor of so many axes.

    Returns:
        None where the constant is the same for all channels.
    """
    axis = value.ndim - axes + 1
    return None if axis < 0 or value.shape[axis] == 1 else int(value.shape[axis])


def adds_channels(network: Network, node: Node) -> bool:
    """Whether a node pads a tensor by channels of zeros, and maybe by further zeros within the channels."""
    padding = zero_padding(network, node)
    if padding is None or len(padding[0]) < 2:
        return False
    (batch, before), (batch_after, after) = padding[0][:2], padding[1][:2]
    return not (batch or batch_after) and min(before, after) >= 0 and before + after > 0


def joins_channels(network: Network, node: Node) -> bool:
    """Whether a node lays the channels of several tensors one after the other."""
    if not node.is_op("Concat") or any(network.is_constant(name) for name in node.inputs):
        return False
    shapes = [network.shape(name) for name in (*node.inputs, *node.outputs)]
    if any(shape is None or len(shape) < 2 or shape[1] is None for shape in shapes):
        return False
    return int(node.attributes["axis"]) in (1, 1 - len(shapes[0] or ()))


def keeps_channels(network: Network, node: Node) -> bool:
    """Whether a node changes the axes after the channels only, or runs them together with these."""
    read, made = network.shape(node.inputs[0]) if node.inputs else None, network.shape(node.outputs[0])
    if read is None or made is None or len(read) < 2 or len(made) < 2:
        return False
    if node.is_op("Flatten"):
        return int(node.attributes.get("axis", 1)) == 1
    if node.is_op("Reshape"):
        return len(made) == 2 and read[0] == made[0]
    if node.is_op(*_OF_AXES):
        axes = axes_of(network, node)
        return axes is not None and all(axis % len(read) > 1 for axis in axes)
    if node.is_op("Slice"):
        slices = slices_of(network, node)
        return slices is not None and all(axis > 1 for axis in slices)
    if node.is_op("Pad"):
        padding = zero_padding(network, node)
        return padding is not None and not any(padding[0][:2] + padding[1][:2])
    sized = len(node.inputs) > 3  # a Resize to sizes, of which the channels are one
    return node.is_op("Resize", "Upsample") and not sized and read[1] == made[1]
