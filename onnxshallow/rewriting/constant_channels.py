"""Channels that are one number whatever the input, moved into the bias of the layers that read them.

A channel without weights is its bias everywhere, and behind an activation what that makes of it. Where no reader
pads, each gets weight times number added to its bias, and has no weights for the channel any more: then nobody needs
it. A layer that pads reads zeros beside the number, so that no bias can stand for it.
"""

import dataclasses

import numpy as np

from onnxshallow.analysis import Analysis, Layer
from onnxshallow.analysis.streams import Stream, adds_channels, find_streams, is_depthwise, joins_channels
from onnxshallow.analysis.zeros import ChannelValues, unweighed_channels
from onnxshallow.convolution import Convolution

__all__ = ["constants_in_biases"]


def constants_in_biases(analysis: Analysis) -> dict[Layer, Convolution]:
    """Layers that read such channels, each with these in its bias instead of its weights.

    Args:
        analysis: of a network whose activations are whole.
    """
    found: dict[Layer, Convolution] = {}
    for stream in dict.fromkeys(find_streams(analysis).values()):
        found.update(_of_stream(analysis, stream))
    return found


def _of_stream(analysis: Analysis, stream: Stream) -> dict[Layer, Convolution]:
    network, layers = analysis.network, analysis.layers
    nodes = [node for name in stream.tensors for node in network.consumers(name)]
    if any(adds_channels(network, node) or joins_channels(network, node) for node in nodes):
        return {}
    values = ChannelValues(analysis, stream, {})
    readers = [each for name in stream.tensors for each in layers.sources.get(name, ())]
    readers = [layer for layer in readers if not is_depthwise(analysis, layer)]
    movable = np.ones(stream.channels, bool)
    for layer in readers:
        numbers, convolution = values.of(layer.source), layers.convolution(layer)
        pads = any(pad > 0 for pad in (*convolution.pads_begin, *convolution.pads_end))
        stored = network.initializer(network.nodes[layer.main].inputs[1]) is not None
        fits = (numbers == 0) | (np.isfinite(numbers) & (stored and not pads))
        movable &= fits | unweighed_channels(analysis, layer, stream)
    found = {}
    for layer in readers:
        numbers = np.where(movable, np.nan_to_num(values.of(layer.source)), 0)
        gone = (numbers != 0) & ~unweighed_channels(analysis, layer, stream)
        if gone.any():
            found[layer] = _moved(layers.convolution(layer), np.where(gone, numbers, 0))
    return found


def _moved(convolution: Convolution, numbers: np.ndarray) -> Convolution:
    """A dense convolution with what channels of these numbers, (C,), add to it in its bias; zero for the others."""
    weight = convolution.weight
    every = np.repeat(numbers, weight.shape[1] // numbers.size)
    by_channel = every.reshape(1, -1, *(1,) * (weight.ndim - 2))
    weighed = np.sum(weight * by_channel, axis=tuple(range(1, weight.ndim)))
    kept = np.where(by_channel == 0, weight, 0.0)
    return dataclasses.replace(convolution, weight=kept, bias=convolution.bias + weighed)
