"""Write a convolution as ONNX nodes."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from onnxshallow.analysis import Layer, Layers
from onnxshallow.convolution import Convolution, dense
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.network import Network

__all__ = ["affine_nodes", "average_nodes", "is_channel_affine", "layer_nodes", "write_layer", "write_layers"]


def layer_nodes(
    editor: GraphEditor,
    convolution: Convolution,
    source: str,
    output: str,
    *,
    name: str,
    dtype: np.dtype,
    bias_map: np.ndarray | None = None,
) -> list[gs.Node]:
    """The nodes that compute `convolution`: a Conv, a Gemm (rank 0), or Mul and Add (one weight a channel).

    Args:
        editor: the graph under edit; the nodes are not inserted.
        convolution: what to compute.
        source: tensor that is read.
        output: tensor that is made.
        name: for the main node, and the stem of the initializers' names.
        dtype: element type of the weights.
        bias_map: a constant (C_out, *spatial) to add in place of the convolution's bias.
    """
    made = editor.tensor(output)
    if is_channel_affine(convolution):
        scale = convolution.weight.reshape(-1)
        return affine_nodes(
            editor, scale, convolution.bias, source, output, name=name, dtype=dtype, rank=convolution.rank
        )
    if convolution.rank == 0:
        weight = editor.constant(f"{name}.weight", dense(convolution).weight.astype(dtype))
        bias = editor.constant(f"{name}.bias", convolution.bias.astype(dtype))
        return [gs.Node("Gemm", name, {"transB": 1}, [editor.tensor(source), weight, bias], [made])]
    attributes = {
        "dilations": list(convolution.dilations),
        "group": convolution.groups,
        "kernel_shape": list(convolution.kernel_shape),
        "pads": [*convolution.pads_begin, *convolution.pads_end],
        "strides": list(convolution.strides),
    }
    inputs = [editor.tensor(source), editor.constant(f"{name}.weight", convolution.weight.astype(dtype))]
    if bias_map is None:
        inputs.append(editor.constant(f"{name}.bias", convolution.bias.astype(dtype)))
        return [gs.Node("Conv", name, attributes, inputs, [made])]
    unbiased = gs.Variable(editor.fresh(f"{name}_unbiased"))
    border = editor.constant(f"{name}.border", bias_map.astype(dtype)[np.newaxis])
    return [
        gs.Node("Conv", name, attributes, inputs, [unbiased]),
        gs.Node("Add", f"{name}/border", {}, [unbiased, border], [made]),
    ]


def is_channel_affine(convolution: Convolution) -> bool:
    """Whether `convolution` only scales and shifts every channel."""
    return (
        1 < convolution.groups == convolution.in_channels == convolution.out_channels
        and convolution.is_pointwise
        and set(convolution.strides) <= {1}
    )


def affine_nodes(
    editor: GraphEditor,
    scale: np.ndarray,
    shift: np.ndarray,
    source: str,
    output: str,
    *,
    name: str,
    dtype: np.dtype,
    rank: int,
) -> list[gs.Node]:
    """A Mul and an Add that compute scale * x + shift; a Mul alone where nothing is shifted.

    Args:
        editor: the graph under edit; the nodes are not inserted.
        scale: one value (1,) or one a channel (C,).
        shift: like `scale`.
        source: tensor that is read, (N, C, *spatial).
        output: tensor that is made.
        name: for the Mul, and the stem of the other names.
        dtype: element type of the constants.
        rank: number of spatial axes.
    """
    shape = (1, -1) + (1,) * rank
    factor = editor.constant(f"{name}.scale", scale.reshape(shape).astype(dtype))
    if not np.any(shift):
        return [gs.Node("Mul", name, {}, [editor.tensor(source), factor], [editor.tensor(output)])]
    offset = editor.constant(f"{name}.shift", shift.reshape(shape).astype(dtype))
    scaled = gs.Variable(editor.fresh(f"{name}_scaled"))
    return [
        gs.Node("Mul", name, {}, [editor.tensor(source), factor], [scaled]),
        gs.Node("Add", f"{name}/shift", {}, [scaled, offset], [editor.tensor(output)]),
    ]


def average_nodes(editor: GraphEditor, source: str, *, name: str, flat: bool) -> list[gs.Node]:
    """The nodes that average each channel of a tensor; the last one makes that.

    Args:
        editor: the graph under edit; the nodes are not inserted.
        source: tensor that is read, (N, C, *spatial).
        name: for the nodes and the tensors that they make, where it is free.
        flat: whether (N, C) is made, and not (N, C, 1, ...).
    """
    made = gs.Variable(editor.fresh(name))
    pooling = gs.Node("GlobalAveragePool", editor.fresh_node(name), {}, [editor.tensor(source)], [made])
    if not flat:
        return [pooling]
    flattened = gs.Variable(editor.fresh(f"{name}/flat"))
    return [pooling, gs.Node("Flatten", editor.fresh_node(f"{name}/flat"), {"axis": 1}, [made], [flattened])]


def write_layers(network: Network, layers: Layers, fitted: Mapping[Layer, Convolution]) -> onnx.ModelProto:
    """The network's model with some layers computing other convolutions, each written as one plain node.

    Args:
        network: the network.
        layers: its layers.
        fitted: new convolutions, of the same geometry, for some of them.
    """
    if not fitted:
        return network.model
    editor = GraphEditor(network.model)
    for layer, convolution in fitted.items():
        write_layer(editor, network, layers, layer, convolution)
    return editor.finish()


def write_layer(
    editor: GraphEditor, network: Network, layers: Layers, layer: Layer, convolution: Convolution
) -> None:
    """Write one of the network's layers as one plain node that computes another convolution."""
    nodes = layer_nodes(editor, convolution, layer.source, layer.output, name=layer.name, dtype=layers.dtype(layer))
    editor.replace([network.nodes[index].outputs[0] for index in layer.nodes], nodes)
