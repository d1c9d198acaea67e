"""Take the channels of tensors in another order, or only some of them, by new weights.

What changes are the rows of the layers that make such a tensor, the columns of those that read it, and the constants
with a number for each channel that it is added to or multiplied by. After a Concat, or a Pad that adds channels, the
channels are gathered where their orders do not fit.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxshallow.actions.emission import write_layers
from onnxshallow.analysis import Analysis, Layer, NotLinearError
from onnxshallow.analysis.attributes import zero_padding
from onnxshallow.analysis.streams import ARITHMETIC, adds_channels, channel_axis, is_depthwise, joins_channels
from onnxshallow.convolution import Convolution
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.network import Node
from onnxshallow.rewriting.lowering.node_writer import NodeWriter

__all__ = ["joined_order", "reindex"]

Order = NDArray[np.int64]


def reindex(analysis: Analysis, orders: Mapping[str, Order]) -> onnx.ModelProto:
    """The model whose tensors hold the channels that `orders` says, in that order.

    Args:
        analysis: of the model.
        orders: by tensor, which elements of axis 1 it is to have; for all tensors of some free streams
            (`onnxshallow.analysis.streams`).
    """
    network, layers = analysis.network, analysis.layers
    ends = [layer for layer in layers if layer.source in orders or layer.output in orders]
    changed = {layer: _taken(analysis, layer, orders) for layer in ends}
    editor = GraphEditor(write_layers(network, layers, changed))
    for node in network.nodes:
        if node.index in layers.by_node or not (orders.keys() & {*node.inputs, *node.outputs}):
            continue
        if adds_channels(network, node):
            _gather_padded(editor, analysis, node, orders)
        elif joins_channels(network, node):
            _gather_joined(editor, analysis, node, orders)
        elif node.is_op(*ARITHMETIC):
            _take_constants(editor, analysis, node, orders[node.outputs[0]])
        elif node.is_op("Reshape"):  # its shape may name the old number of channels
            made = editor.tensor(node.outputs[0])
            editor.replace([made.name], [gs.Node("Flatten", node.name, {}, [editor.tensor(node.inputs[0])], [made])])
    model = editor.finish()
    _forget_sizes(analysis, model, orders)
    return model


def _taken(analysis: Analysis, layer: Layer, orders: Mapping[str, Order]) -> Convolution:
    convolution = analysis.layers.convolution(layer)
    rows, columns = orders.get(layer.output), orders.get(layer.source)
    weight, bias, groups = convolution.weight, convolution.bias, convolution.groups
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if is_depthwise(analysis, layer):
        groups = len(weight)
    elif columns is not None:
        weight = weight[:, columns]
    return replace(convolution, weight=weight, bias=bias, groups=groups)


def _take_constants(editor: GraphEditor, analysis: Analysis, node: Node, order: Order) -> None:
    axes = len(analysis.network.shape(node.outputs[0]) or ())
    (target,) = editor.tensor(node.outputs[0]).inputs
    for position, name in enumerate(node.inputs):
        value = analysis.network.constant(name)
        if value is not None and channel_axis(value, axes) is not None:
            taken = np.take(value, order, axis=value.ndim - axes + 1)
            target.inputs[position] = editor.constant(f"{name}_taken", taken)


def _gather_padded(editor: GraphEditor, analysis: Analysis, node: Node, orders: Mapping[str, Order]) -> None:
    """Add one channel of zeros after all others, and take from them what the padded tensor is to have."""
    network, source = analysis.network, node.inputs[0]
    padding = zero_padding(network, node)
    if padding is None:
        raise NotLinearError(f"{node.name!r} pads by more than zeros")
    begin, end = (list(amounts) for amounts in padding)
    channels = _channels(analysis, source)
    read = orders.get(source, np.arange(channels))
    places = np.full(begin[1] + channels + end[1], len(read))
    places[begin[1] + read] = np.arange(len(read))
    begin[1], end[1] = 0, 1
    writer = _writer(editor, analysis, node)
    if network.opset < 11:
        padded = writer.write("Pad", "padded", [editor.tensor(source)], pads=[*begin, *end])
    else:
        padded = writer.write("Pad", "padded", [editor.tensor(source), writer.integers("pads", [*begin, *end])])
    taken = places[orders.get(node.outputs[0], np.arange(len(places)))]
    writer.write("Gather", "ordered", [padded, writer.integers("places", taken)], axis=1)
    made = editor.tensor(node.outputs[0])
    writer.replace(made.inputs[0], made)


def _gather_joined(editor: GraphEditor, analysis: Analysis, node: Node, orders: Mapping[str, Order]) -> None:
    """Take the channels of a Concat in the order that its output is to have, if it is another."""
    places = np.argsort(joined_order(analysis, node, orders))
    taken = places[orders.get(node.outputs[0], np.arange(len(places)))]
    if np.array_equal(taken, np.arange(len(places))):
        return
    made = editor.tensor(node.outputs[0])
    (concat,) = made.inputs
    writer = _writer(editor, analysis, node)
    joined = writer.move("joined", concat, concat.inputs)
    writer.write("Gather", "ordered", [joined, writer.integers("places", taken)], axis=1)
    writer.replace(concat, made)


def joined_order(analysis: Analysis, node: Node, orders: Mapping[str, Order]) -> Order:
    """The order of the channels that a Concat makes, where its inputs have all theirs in the order of `orders`.

    Returns:
        (C,) the channels that its output has in the model of `analysis`.
    """
    sizes = [_channels(analysis, name) for name in node.inputs]
    starts = np.cumsum([0, *sizes])
    parts = [orders.get(name, np.arange(size)) for name, size in zip(node.inputs, sizes, strict=True)]
    return np.concatenate([start + part for start, part in zip(starts, parts, strict=False)])


def _channels(analysis: Analysis, tensor: str) -> int:
    shape = analysis.network.shape(tensor)
    return 0 if shape is None else shape[1] or 0


def _writer(editor: GraphEditor, analysis: Analysis, node: Node) -> NodeWriter:
    network = analysis.network
    shape, dtype = network.shape(node.outputs[0]), network.dtype(node.outputs[0])
    if shape is None or dtype is None:
        raise NotLinearError(f"the shape of {node.outputs[0]!r} is not known")
    return NodeWriter(editor, node.name, dtype, len(shape) - 2, network.opset)


def _forget_sizes(analysis: Analysis, model: onnx.ModelProto, orders: Mapping[str, Order]) -> None:
    """Remove what the file says of tensors that have fewer channels now, or that only its own spelling has."""
    made = {name for node in analysis.network.nodes for name in node.outputs}
    for index in reversed(range(len(model.graph.value_info))):
        name = model.graph.value_info[index].name
        shape = analysis.network.shape(name)
        narrower = name in orders and shape is not None and shape[1] != len(orders[name])
        if narrower or (name not in made and analysis.network.initializer(name) is None):
            del model.graph.value_info[index]
