"""Multiply channels by numbers where they are made, and divide where they are read, so that factors go.

Fixed-point arithmetic keeps so many bits after the point: a channel far smaller than others is lost in it, and what
is multiplied by a large number shows what was lost. And each factor a channel is a product that secure computation
pays for. Both mend one way: the network computes the same with any channel at another scale, as long as what is tied
(`onnxshallow.rewriting.lowering.ties`) moves along. Scales are chosen so that

- products by a number a channel go, where scales within `_MOST` can take up all of these numbers, else those of them
  that are out of range;
- rows of weights far below the others of their layer, and columns far above, come to the size of the others;
- all else stays as it is.

The factors of a chain of squares are taken up from its end: each square halves what the logarithm of a scale is off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxshallow.actions.emission import write_layer
from onnxshallow.analysis import Analysis, Layer
from onnxshallow.analysis.streams import is_depthwise
from onnxshallow.convolution import Convolution, scale_output
from onnxshallow.model.editor import GraphEditor
from onnxshallow.rewriting.lowering.ties import Ties

__all__ = ["Rescaled", "rescale"]

Values = NDArray[np.float64]

# No channel is multiplied or divided by more than this (its logarithm).
_MOST = math.log(2.0**14)
# Weights are out of range by more than this, against others of their layer (its logarithm).
_FAR = math.log(2.0**6)


@dataclass(frozen=True)
class Rescaled:
    """A network at other scales.

    Attributes:
        model: the network.
        scales: by tensor what each channel was multiplied by, (C,); tensors that are as they were are left out.
    """

    model: onnx.ModelProto
    scales: Mapping[str, Values]


def rescale(analysis: Analysis) -> Rescaled:
    """The network with its channels at scales that serve fixed-point arithmetic; it computes the same."""
    ties = Ties(analysis)
    wanted, weight = _wishes(analysis, ties)
    gone = _without_factors(analysis, ties, wanted, weight)
    logarithms = ties.scales.solve(wanted, weight)
    scales = {}
    for node in analysis.network.nodes:
        for name in node.outputs:
            values = logarithms[ties.places(name)]
            if np.any(values):
                scales[name] = np.exp(values)
    if not scales and not gone:
        return Rescaled(analysis.network.model, {})
    return Rescaled(_written(analysis, scales, gone), scales)


def _wishes(analysis: Analysis, ties: Ties) -> tuple[Values, Values]:
    """What the logarithm of each scale would best be, and how much that counts."""
    total, weight = np.zeros(ties.count), np.ones(ties.count)

    def wish(tensor: str, values: Values) -> None:
        places = ties.places(tensor)
        total[places] += values
        weight[places] += values != 0

    for layer in analysis.layers:
        if layer.kind == "affine" or not ties.is_free(layer) or is_depthwise(analysis, layer):
            continue
        kernel = np.abs(analysis.layers.convolution(layer).weight)
        rows = kernel.reshape(len(kernel), -1).max(axis=1)
        wish(layer.output, np.maximum(-_beyond(rows, float(rows.max())), 0.0))
        if analysis.layers.groups(layer) == 1:
            columns = np.moveaxis(kernel, 1, 0).reshape(kernel.shape[1], -1).max(axis=1)
            wish(layer.source, np.maximum(_beyond(columns, float(np.median(columns))), 0.0))
    return np.minimum(total / weight, _MOST), weight


def _beyond(sizes: Values, usual: float) -> Values:
    """By how much sizes are above or below what is usual, as logarithms; zero where they are in range, or zero."""
    known = (sizes > 0) & (usual > 0)
    ratio = np.log(np.where(known, sizes, 1.0) / np.where(known, usual, 1.0))
    return np.where(np.abs(ratio) > _FAR, ratio, 0.0)


def _without_factors(analysis: Analysis, ties: Ties, wanted: Values, weight: Values) -> frozenset[Layer]:
    """Tie the scales so that factors become one, those of the most elements first; which products can go then.

    Of a product that has to stay, the factors that are out of range are tied so.
    """
    gone = []
    factors = [layer for layer in analysis.layers if layer.kind == "affine" and ties.is_free(layer)]
    for layer in sorted(factors, key=lambda layer: -_elements(analysis, layer.output)):
        factor = analysis.layers.convolution(layer).weight.reshape(-1)
        for which in (np.ones(len(factor), bool), _beyond(np.abs(factor), 1.0) != 0):
            whole = bool(np.all(which))
            if not np.any(which) or (whole and np.any(factor <= 0)):
                continue
            made, read = (ties.places(name)[which] for name in (layer.output, layer.source))
            tried = ties.scales.copy()
            tied = tried.tie(made, read, shift=-np.log(np.abs(factor[which])))
            if tied and np.abs(tried.solve(wanted, weight)).max() <= _MOST:
                ties.scales = tried
                gone += [layer] if whole else []
                break
    return frozenset(gone)


def _elements(analysis: Analysis, tensor: str) -> int:
    return math.prod(analysis.network.full_shape(tensor) or (0,))


def _written(analysis: Analysis, scales: Mapping[str, Values], gone: frozenset[Layer]) -> onnx.ModelProto:
    network, layers = analysis.network, analysis.layers
    editor = GraphEditor(network.model)
    for node in network.nodes:
        layer = layers.by_node.get(node.index)
        if layer is None:
            if node.outputs[0] in scales:
                _scale_constants(editor, analysis, node.index, scales[node.outputs[0]])
        elif layer.main == node.index and layer not in gone and (layer.source in scales or layer.output in scales):
            write_layer(editor, network, layers, layer, _scaled(analysis, layer, scales))
    instead: dict[str, str] = {}
    for layer in sorted(gone, key=lambda layer: layer.main):  # last, as other layers are written by what they read
        _leave_out(editor, analysis, layer, _scaled(analysis, layer, scales).bias, instead)
    return editor.finish()


def _scaled(analysis: Analysis, layer: Layer, scales: Mapping[str, Values]) -> Convolution:
    """What a layer computes where what it reads and makes is scaled."""
    convolution = analysis.layers.convolution(layer)
    read, made = scales.get(layer.source), scales.get(layer.output, 1.0)
    if read is not None:
        weight, groups = convolution.weight, convolution.groups
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        columns = read.reshape(groups, 1, -1, *(1,) * convolution.rank)
        convolution = replace(convolution, weight=(grouped / columns).reshape(weight.shape))
    return scale_output(convolution, made)


def _leave_out(editor: GraphEditor, analysis: Analysis, layer: Layer, shift: Values, instead: dict[str, str]) -> None:
    """Leave a product by ones out; a sum (C,) that belongs to it stays.

    Args:
        editor: the graph under edit.
        analysis: of the network as it was.
        layer: the product.
        shift: the sum.
        instead: by tensor that nobody makes any more what is read in its place; may grow.
    """
    made, network = editor.tensor(layer.output), analysis.network
    name = instead.get(layer.source, layer.source)
    source = editor.tensor(name)
    seen = network.is_output(layer.output) or any(layer.output in n.captures for n in network.consumers(layer.output))
    if np.any(shift):
        shape = (1, -1) + (1,) * (len(layer.weight_shape) - 2)
        value = editor.constant(f"{layer.name}.shift", shift.reshape(shape).astype(analysis.layers.dtype(layer)))
        node = gs.Node("Add", layer.name, {}, [source, value], [made])
        editor.replace([network.nodes[index].outputs[0] for index in layer.nodes], [node])
    elif name == layer.source and network.producer(name) is not None and network.is_private(name):
        editor.rename_output(layer.source, layer.output)
    elif seen:  # the name stays: a body reads it, or whoever runs the model
        node = gs.Node("Identity", layer.name, {}, [source], [made])
        editor.replace([network.nodes[index].outputs[0] for index in layer.nodes], [node])
    else:
        instead[layer.output] = name
        for reader in list(made.outputs):
            reader.inputs = [source if tensor is made else tensor for tensor in reader.inputs]


def _scale_constants(editor: GraphEditor, analysis: Analysis, index: int, scale: Values) -> None:
    """Multiply the constants of a sum; a product's stay, as what it reads is scaled."""
    node = analysis.network.nodes[index]
    if not node.is_op("Add", "Sub", "Sum"):
        return
    axes = len(analysis.network.shape(node.outputs[0]) or ())
    (target,) = editor.tensor(node.outputs[0]).inputs
    for position, name in enumerate(node.inputs):
        value = analysis.network.constant(name)
        if value is not None:
            scaled = value * scale.reshape(-1, *(1,) * (axes - 2))
            target.inputs[position] = editor.constant(f"{name}_scaled", scaled.astype(value.dtype))
