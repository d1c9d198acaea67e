"""Nodes on shortcut paths that are convolutions in disguise.

Slice over spatial axes from the first pixel on, with a step    1x1 depthwise, strided
Pad of the channel axis with zeros                              1x1, copies each channel to its new place
AveragePool                                                     depthwise with equal weights
"""

import numpy as np

from onnxshallow.analysis.attributes import pads_of, slices_of, spatial_attribute, zero_padding
from onnxshallow.convolution import Convolution, identity
from onnxshallow.model.network import Network, Node

__all__ = ["as_convolution", "joins_channels"]


def as_convolution(network: Network, node: Node) -> Convolution | None:
    """The convolution that `node` computes; None for nodes that are none, or whose sizes are not known."""
    sizes = network.shape(node.inputs[0])
    if sizes is None or len(sizes) < 3 or sizes[1] is None:
        return None
    channels, rank = sizes[1], len(sizes) - 2
    if node.is_op("Slice"):
        return _strided_slice(network, node, channels, sizes)
    if node.is_op("Pad"):
        return _channel_pad(network, node, channels, rank)
    if node.is_op("AveragePool"):
        return _average_pool(network, node, channels, rank)
    return None


def joins_channels(network: Network, node: Node) -> bool:
    """Whether `node` puts the channels of several tensors one after the other."""
    sizes = network.shape(node.outputs[0])
    axis = node.attributes.get("axis", 0)
    return node.is_op("Concat") and sizes is not None and len(sizes) > 1 and axis in (1, 1 - len(sizes))


def _strided_slice(network: Network, node: Node, channels: int, sizes: tuple[int | None, ...]) -> Convolution | None:
    cuts = slices_of(network, node)
    sizes = (None, *sizes[1:])  # the batch is as large as the caller makes it
    if cuts is None or any(axis < 2 and not _is_whole(cut, sizes[axis]) for axis, cut in cuts.items()):
        return None
    strides = [1] * (len(sizes) - 2)
    for axis, cut in cuts.items():
        if axis < 2:
            continue
        if not _is_whole(slice(cut.start, cut.stop, 1), sizes[axis]) or cut.step < 1:
            return None
        strides[axis - 2] = cut.step
    return Convolution.of(identity(channels, len(strides)).weight, strides=strides, groups=channels)


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


def _average_pool(network: Network, node: Node, channels: int, rank: int) -> Convolution | None:
    kernel = tuple(int(size) for size in node.attributes["kernel_shape"])
    try:
        begin, end = pads_of(network, node, kernel)
    except ValueError:
        return None
    padded = any(begin + end)
    if node.attributes.get("ceil_mode", 0) or (padded and not node.attributes.get("count_include_pad", 0)):
        return None
    weight = np.full((channels, 1, *kernel), 1 / np.prod(kernel))
    return Convolution.of(
        weight,
        strides=spatial_attribute(node, "strides", rank),
        dilations=spatial_attribute(node, "dilations", rank),
        pads_begin=begin,
        pads_end=end,
        groups=channels,
    )
