"""Nodes in chains and on shortcut paths that are convolutions in disguise.

Slice over spatial axes from the first pixel on, with a step    1x1 depthwise, strided
Slice, Split and Gather of the channel axis                     1x1, copies each channel to its new place
Pad of the channel axis with zeros                              likewise
Add, Sub, Mul, Div by a number a channel, Neg                   1x1 depthwise
AveragePool                                                     depthwise with equal weights; where it does not
                                                                count its padding, but for the border
SpaceToDepth                                                    strided, copies each pixel of a block to a channel
"""

import numpy as np

from onnxshallow.analysis.affine_ops import channel_affine
from onnxshallow.analysis.attributes import pads_of, slices_of, spatial_attribute, zero_padding
from onnxshallow.convolution import Convolution, identity
from onnxshallow.model.network import Network, Node

__all__ = ["IN_DISGUISE", "as_convolution", "differs_at_border", "joins_channels", "source_of"]

IN_DISGUISE = (
    "Add", "AveragePool", "Div", "Gather", "Mul", "Neg", "Pad", "Slice", "SpaceToDepth", "Split", "Sub",
)  # fmt: skip
"""Operators of which some nodes are convolutions."""


def source_of(network: Network, node: Node) -> str:
    """The tensor that a convolution in disguise reads: the first that is no constant."""
    return next((name for name in node.inputs if not network.is_constant(name)), node.inputs[0])


def as_convolution(network: Network, node: Node, output: str) -> Convolution | None:
    """The convolution by which `node` makes `output`; None for nodes that are none, or whose sizes are not known."""
    source = source_of(network, node)
    sizes = network.shape(source)
    if sizes is None or len(sizes) < 3 or sizes[1] is None:
        return None
    channels, rank = sizes[1], len(sizes) - 2
    if node.is_op("Slice"):
        return _slice(network, node, channels, sizes)
    if node.is_op("Split", "Gather"):
        taken = _taken(network, node, output, channels, len(sizes))
        return None if taken is None else _chosen(taken, channels, rank)
    if node.is_op("Pad"):
        return _channel_pad(network, node, channels, rank)
    if node.is_op("AveragePool"):
        return _average_pool(network, node, channels, sizes)
    if node.is_op("SpaceToDepth"):
        return _blocks(channels, int(node.attributes["blocksize"])) if rank == 2 else None
    if not node.is_op("Add", "Sub", "Mul", "Div", "Neg") or network.shape(output) != sizes:
        return None
    affine = channel_affine(network, node, source, rank, channels)
    if affine is None:
        return None
    return Convolution.of(affine[0].reshape(-1, 1, *(1,) * rank), affine[1], groups=channels)


def joins_channels(network: Network, node: Node) -> bool:
    """Whether `node` puts the channels of several tensors one after the other."""
    sizes = network.shape(node.outputs[0])
    axis = node.attributes.get("axis", 0)
    return node.is_op("Concat") and sizes is not None and len(sizes) > 1 and axis in (1, 1 - len(sizes))


def _slice(network: Network, node: Node, channels: int, sizes: tuple[int | None, ...]) -> Convolution | None:
    cuts = slices_of(network, node)
    if cuts is None or (0 in cuts and not _is_whole(cuts[0], None)):  # the batch is as large as the caller makes it
        return None
    strides = [1] * (len(sizes) - 2)
    for axis, cut in cuts.items():
        if axis < 2:
            continue
        if not _is_whole(slice(cut.start, cut.stop, 1), sizes[axis]) or cut.step < 1:
            return None
        strides[axis - 2] = cut.step
    chosen = cuts.get(1, slice(None))
    if chosen.step is not None and chosen.step < 1:
        return None
    taken = np.arange(channels)[chosen]
    if len(taken) == channels:
        return Convolution.of(identity(channels, len(strides)).weight, strides=strides, groups=channels)
    if not len(taken):
        return None
    return Convolution.of(_chosen(taken, channels, len(strides)).weight, strides=strides)


def _taken(network: Network, node: Node, output: str, channels: int, axes: int) -> np.ndarray | None:
    """The channels, in order, that a Split or Gather gives to an output."""
    if int(node.attributes.get("axis", 0)) % axes != 1:
        return None
    if node.op == "Gather":
        indices = network.constant(node.inputs[1])
        return None if indices is None or indices.ndim != 1 or not indices.size else np.arange(channels)[indices]
    shapes = [network.shape(name) for name in node.outputs]
    counts = [shape[1] or 0 if shape is not None and len(shape) > 1 else 0 for shape in shapes]
    if sum(counts) != channels or not all(counts):
        return None
    place = node.outputs.index(output)
    return np.arange(channels)[sum(counts[:place]) : sum(counts[: place + 1])]


def _chosen(taken: np.ndarray, channels: int, rank: int) -> Convolution:
    """The convolution that copies the channels `taken`."""
    return Convolution.of(np.eye(channels)[taken].reshape(len(taken), channels, *(1,) * rank))


def _blocks(channels: int, size: int) -> Convolution:
    """SpaceToDepth: channel (i size + j) C + c of the result is the pixel (i, j) of each block of channel c."""
    weight = np.eye(channels * size * size).reshape(-1, size, size, channels).transpose(0, 3, 1, 2)
    return Convolution.of(weight, strides=(size, size))


def _is_whole(cut: slice, size: int | None) -> bool:
    """Whether `cut` takes every element of an axis, whatever the axis's size where that is not known."""
    huge = np.iinfo(np.int32).max
    return bool(cut.start == 0 and cut.step == 1 and cut.stop >= (huge if size is None else size))


def _channel_pad(network: Network, node: Node, channels: int, rank: int) -> Convolution | None:
    padding = zero_padding(network, node)
    if padding is None:
        return None
    (batch_a, before, *spatial_a), (batch_b, after, *spatial_b) = padding
    if batch_a or batch_b or any(spatial_a) or any(spatial_b) or before < 0 or after < 0:
        return None
    weight = np.eye(before + channels + after, channels, -before)
    return Convolution.of(weight.reshape(*weight.shape, *(1,) * rank))


def differs_at_border(node: Node) -> bool:
    """Whether a pooling that is read as a convolution divides by fewer where its window reaches over the border."""
    if not node.is_op("AveragePool") or node.attributes.get("count_include_pad", 0):
        return False
    return any(node.attributes.get("pads", ())) or str(node.attributes.get("auto_pad", "")).startswith("SAME")


def _average_pool(network: Network, node: Node, channels: int, sizes: tuple[int | None, ...]) -> Convolution | None:
    kernel, rank = tuple(int(size) for size in node.attributes["kernel_shape"]), len(sizes) - 2
    try:
        begin, end = pads_of(network, node, kernel)
    except ValueError:
        return None
    strides, dilations = (spatial_attribute(node, name, rank) for name in ("strides", "dilations"))
    if node.attributes.get("ceil_mode", 0):
        extents = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        axes = zip(sizes[2:], begin, end, extents, strides, strict=True)
        if network.input_shapes or any(s is None or (s + a + b - extent) % by for s, a, b, extent, by in axes):
            return None
    weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel))
    return Convolution.of(
        weight, strides=strides, dilations=dilations, pads_begin=begin, pads_end=end, groups=channels
    )
