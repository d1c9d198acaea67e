"""Channels that nobody needs: whatever reads a stream, and is no part of it, finds zeros in them."""

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

__all__ = ["keeps_zero", "unneeded_channels"]

# Operators other than sites that make zeros of zeros, in each channel by itself.
_KEEP_ZERO = ("Add", "Sub", "Sum", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten",
              "Reshape", "Squeeze", "ReduceMean", "ReduceSum", "Slice", "Pad", "Neg", "Abs")  # fmt: skip


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
    zeros = _Zeros(analysis, stream, partials)
    readers = [layer for name in stream.tensors for layer in analysis.layers.sources.get(name, ())]
    outside = [layer.source for layer in readers if not is_depthwise(analysis, layer)]
    nodes = [node for name in stream.tensors for node in network.consumers(name)]
    outside += [node.inputs[0] for node in nodes if adds_channels(network, node)]
    if not outside or any(joins_channels(network, node) for node in nodes):  # a Concat keeps what it reads
        return np.zeros(stream.channels, bool)
    found: NDArray[np.bool_] = np.all([zeros.of(name) for name in outside], axis=0)
    return found


class _Zeros:
    """Which channels of a stream's tensors are zero, whatever the input."""

    def __init__(self, analysis: Analysis, stream: Stream, partials: Mapping[str, Partial]) -> None:
        self._analysis = analysis
        self._stream = stream
        self._partials = partials
        self._known: dict[str, NDArray[np.bool_]] = {}
        for node in analysis.network.nodes:  # in order, so that what a node reads is known
            layer = analysis.layers.by_node.get(node.index)
            name = node.outputs[0] if layer is None else layer.output
            if name in stream.tensors and name not in self._known:
                self._known[name] = self._of_node(node) if layer is None else self._of_layer(layer)

    def of(self, tensor: str) -> NDArray[np.bool_]:
        """Which channels of a tensor of the stream are zero, (C,)."""
        return self._known[tensor]

    def _of_layer(self, layer: Layer) -> NDArray[np.bool_]:
        convolution = self._analysis.layers.convolution(layer)
        unshifted = self._by_channel(convolution.bias == 0)
        if is_depthwise(self._analysis, layer):
            return unshifted & self._known[layer.source]
        return unshifted & self._by_channel(convolution.weight == 0)

    def _of_node(self, node: Node) -> NDArray[np.bool_]:
        partial = self._partials.get(node.outputs[0])
        if partial is not None:
            return self._of_partial(partial, self._analysis.site_of_node.get(node.index))
        if not keeps_zero(self._analysis, node):
            return np.zeros(self._stream.channels, bool)
        none = np.zeros(self._stream.channels, bool)
        read = node.inputs if node.is_op("Add", "Sub", "Sum") else node.inputs[:1]
        return np.asarray(np.all([self._known.get(name, none) for name in read], axis=0))

    def _of_partial(self, partial: Partial, site: Site | None) -> NDArray[np.bool_]:
        activated = partial.kept & (site is None or site.keeps_zero)
        of_zero = self._by_channel(activated | (~partial.kept & (partial.constant == 0)))
        silent = ~partial.kept & (partial.square == 0) & (partial.linear == 0) & (partial.constant == 0)
        return (of_zero & self._known[partial.source]) | self._by_channel(silent)

    def _by_channel(self, elements: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of which channels all elements are true; one element speaks for all channels."""
        channels = self._stream.channels
        whole = elements.reshape(channels, -1).all(axis=1) if elements.size > 1 else np.repeat(elements, channels)
        return np.asarray(whole)
