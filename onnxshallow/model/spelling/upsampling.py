"""Transposed convolutions whose kernels do not overlap, as a convolution of the small map with DepthToSpace behind.

    ConvTranspose k x k, stride k     Conv 1x1 that makes k k pixels of each channel, DepthToSpace

Both take the same multiply-adds. A convolution before it can be merged with the one that is written, and could not be
with the other. What is not changed is put back as it stood.
"""

import numpy as np
import onnx

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling.changes import Change, fresh

__all__ = ["apart_kernels"]


def apart_kernels(network: Network) -> list[Change]:
    """ConvTranspose nodes of stride k with k x k kernels, each as a convolution and DepthToSpace."""
    if network.opset < 11:  # the order of channels that groups need is not known before
        return []
    taken = all_names(network.model.graph)
    found = []
    for node in network.nodes:
        size = _kernel(network, node) if node.is_op("ConvTranspose") else None
        weight = network.constant(node.inputs[1]) if size is not None else None
        if weight is None or size is None or network.is_constant(node.inputs[0]):
            continue
        groups = int(node.attributes.get("group", 1))
        output = node.outputs[0]
        made = fresh(f"{output}/pixels", taken)
        reads = [node.inputs[0], fresh(f"{node.inputs[1]}/apart", taken)]
        stored = [onnx.numpy_helper.from_array(_as_convolution(weight, groups), reads[1])]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = network.constant(node.inputs[2])
            if bias is None:
                continue
            reads.append(fresh(f"{node.inputs[2]}/apart", taken))
            stored.append(onnx.numpy_helper.from_array(np.repeat(bias, size * size), reads[2]))
        new = [
            onnx.helper.make_node("Conv", reads, [made], node.proto.name, group=groups),
            onnx.helper.make_node(
                "DepthToSpace", [made], [output], f"{node.name}/to_space", blocksize=size, mode="CRD"
            ),
        ]
        found.append(Change.of(network.model.graph, [node.index], new, stored))
    return found


def _kernel(network: Network, node: Node) -> int | None:
    """The size of a kernel of two equal axes that moves by its own size; None for others."""
    if node.index not in network.alive or network.is_overridable(node.inputs[1]):
        return None
    shape = network.shape(node.inputs[1])
    strides = [int(step) for step in node.attributes.get("strides", ())]
    if shape is None or len(shape) != 4 or strides != [shape[2], shape[3]] or strides[0] != strides[1]:
        return None
    plain = all(
        value == usual
        for name, usual in (("pads", 0), ("output_padding", 0), ("dilations", 1))
        for value in node.attributes.get(name, ())
    )
    automatic = node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", "")
    return strides[0] if plain and not automatic and "output_shape" not in node.attributes else None


def _as_convolution(weight: np.ndarray, groups: int) -> np.ndarray:
    """Weights (C_in, C_out / groups, k, k) of a transposed convolution as (C_out k k, C_in / groups, 1, 1)."""
    read, made, height, width = weight.shape
    blocks = weight.reshape(groups, read // groups, made * height * width)
    turned = blocks.transpose(0, 2, 1).reshape(groups * made * height * width, read // groups, 1, 1)
    return np.ascontiguousarray(turned)
