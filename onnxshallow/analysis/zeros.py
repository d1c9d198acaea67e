"""Channels that nobody needs: what reads a stream, and is no part of it, finds zeros in them or weighs them by zero.

A channel of zeros may be one number before its activation: max(x, 0) makes zeros of a bias below zero.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis.affine_ops import is_passthrough
from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.layers import Layer
from onnxshallow.analysis.partial import Partial
from onnxshallow.analysis.sites import Site
from onnxshallow.analysis.streams import Stream, adds_channels, is_depthwise, joins_channels
from onnxshallow.model.network import Node
from onnxshallow.model.spelling.clamps import clamp_of

__all__ = ["ChannelValues", "keeps_zero", "unneeded_channels", "unweighed_channels"]

# Operators other than sites that make zeros of zeros, in each channel by itself.
_KEEP_ZERO = ("Add", "Sub", "Sum", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten",
              "Reshape", "Squeeze", "ReduceMean", "ReduceSum", "Slice", "Pad", "Neg", "Abs")  # fmt: skip

# Those that make the same number of a number.
_KEEP_NUMBERS = (
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool",
    "ReduceMean",
    "Reshape",
    "Slice",
    "Squeeze",
)


def keeps_zero(analysis: Analysis, node: Node) -> bool:
    """Whether a node that belongs to no layer makes zeros of zeros, in each channel by itself."""
    network = analysis.network
    site = analysis.site_of_node.get(node.index)
    if site is not None or is_passthrough(network, node):
        return site is None or site.keeps_zero
    sums = node.is_op("Add", "Sub", "Sum")
    if sums and any(network.is_constant(name) for name in node.inputs):
        return False
    return node.is_op(*_KEEP_ZERO) and not adds_channels(network, node)


def unneeded_channels(analysis: Analysis, stream: Stream, partials: Mapping[str, Partial]) -> NDArray[np.bool_]:
    """Which channels of a stream can be left out of the network without a change, (C,).

    Args:
        analysis: of the network, in which activations are whole.
        stream: one of its free streams.
        partials: what activations are to become, by the tensor that they make.
    """
    network = analysis.network
    values = ChannelValues(analysis, stream, partials)
    readers = [layer for name in stream.tensors for layer in analysis.layers.sources.get(name, ())]
    nodes = [node for name in stream.tensors for node in network.consumers(name)]
    unneeded = [
        values.zeros(layer.source) | unweighed_channels(analysis, layer, stream)
        for layer in readers
        if not is_depthwise(analysis, layer)
    ]
    unneeded += [values.zeros(node.inputs[0]) for node in nodes if adds_channels(network, node)]
    if not unneeded or any(joins_channels(network, node) for node in nodes):  # a Concat keeps what it reads
        return np.zeros(stream.channels, bool)
    found: NDArray[np.bool_] = np.all(unneeded, axis=0)
    return found


def unweighed_channels(analysis: Analysis, layer: Layer, stream: Stream) -> NDArray[np.bool_]:
    """Which channels of the stream that a dense layer reads have no weights but zeros there, (C,)."""
    weight = analysis.layers.convolution(layer).weight
    by_channel = np.moveaxis(weight, 1, 0).reshape(stream.channels, -1)
    return np.asarray(np.all(by_channel == 0, axis=1))


class ChannelValues:
    """Which channels of a stream's tensors are one number whatever the input.

    Args:
        analysis: of the network.
        stream: one of its free streams.
        partials: what activations are to become, by the tensor that they make.
    """

    def __init__(self, analysis: Analysis, stream: Stream, partials: Mapping[str, Partial]) -> None:
        self._analysis = analysis
        self._stream = stream
        self._partials = partials
        self._known: dict[str, NDArray[np.float64]] = {}  # NaN where it is not one number
        for node in analysis.network.nodes:  # in order, so that what a node reads is known
            layer = analysis.layers.by_node.get(node.index)
            name = node.outputs[0] if layer is None else layer.output
            if name in stream.tensors and name not in self._known:
                self._known[name] = self._of_node(node) if layer is None else self._of_layer(layer)

    def of(self, tensor: str) -> NDArray[np.float64]:
        """The number that each channel of a tensor of the stream is, (C,); NaN where it varies."""
        return self._known[tensor]

    def zeros(self, tensor: str) -> NDArray[np.bool_]:
        """Which channels of a tensor of the stream are zero, (C,)."""
        return np.asarray(self._known[tensor] == 0)

    def _of_layer(self, layer: Layer) -> NDArray[np.float64]:
        convolution = self._analysis.layers.convolution(layer)
        constant = self._by_channel(convolution.weight == 0)
        if is_depthwise(self._analysis, layer):
            constant |= self.zeros(layer.source)
        channels = self._stream.channels
        bias = np.resize(convolution.bias, (channels, max(1, convolution.bias.size // channels)))
        return np.where(constant & np.all(bias == bias[:, :1], axis=1), bias[:, 0], np.nan)

    def _of_node(self, node: Node) -> NDArray[np.float64]:
        partial = self._partials.get(node.outputs[0])
        site = self._analysis.site_of_node.get(node.index)
        if partial is not None:
            return np.where(self._of_partial(partial, site), 0.0, np.nan)
        none = np.full(self._stream.channels, np.nan)
        clamp = None if site is None else clamp_of(self._analysis.network, node)
        if clamp is not None:
            return np.clip(self._known.get(node.inputs[0], none), clamp.low, clamp.high)
        if not keeps_zero(self._analysis, node):
            return none
        if site is None and (node.is_op(*_KEEP_NUMBERS) or is_passthrough(self._analysis.network, node)):
            return self._known.get(node.inputs[0], none)
        read = node.inputs if node.is_op("Add", "Sub", "Sum") else node.inputs[:1]
        return np.where(np.all([self._known.get(name, none) == 0 for name in read], axis=0), 0.0, np.nan)

    def _of_partial(self, partial: Partial, site: Site | None) -> NDArray[np.bool_]:
        activated = partial.kept & (site is None or site.keeps_zero)
        of_zero = self._by_channel(activated | (~partial.kept & (partial.constant == 0)))
        silent = ~partial.kept & (partial.square == 0) & (partial.linear == 0) & (partial.constant == 0)
        return (of_zero & self.zeros(partial.source)) | self._by_channel(silent)

    def _by_channel(self, elements: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of which channels all elements are true; one element speaks for all channels."""
        channels = self._stream.channels
        whole = elements.reshape(channels, -1).all(axis=1) if elements.size > 1 else np.repeat(elements, channels)
        return np.asarray(whole)
