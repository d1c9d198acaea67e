"""Part of a network as a model of its own."""

from collections.abc import Iterable, Mapping, Sequence

import onnx

from onnxshallow.analysis.layers import Layer
from onnxshallow.convolution import Convolution, dense
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network
from onnxshallow.model.spelling.sizes import are_sizes

__all__ = ["build_segment"]


def build_segment(
    network: Network,
    nodes: Iterable[int],
    outputs: Sequence[str],
    replaced: Mapping[Layer, Convolution] | None = None,
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The sub-model of `nodes`, some of whose layers compute other convolutions.

    Args:
        network: the network.
        nodes: indices of the nodes to include; all nodes of a replaced layer or none.
        outputs: tensors that the sub-model returns.
        replaced: layers that are to be computed by another convolution, which is of the same rank.

    Returns:
        The model, and the names of the tensors that it reads.
    """
    chosen = set(nodes)
    protos: list[tuple[int, onnx.NodeProto]] = []
    values: list[onnx.TensorProto] = []
    for layer, convolution in (replaced or {}).items():
        if layer.main in chosen:
            chosen -= set(layer.nodes)
            place = layer.nodes[-1]
            proto, tensors = _layer_proto(network, layer, convolution)
            protos.append((place, proto))
            values.extend(tensors)
    protos.extend((index, network.nodes[index].proto) for index in chosen)
    protos.sort(key=lambda item: item[0])
    graph = onnx.GraphProto(name="segment")
    graph.node.extend(proto for _, proto in protos)
    graph.initializer.extend(values)
    made = {name for proto in graph.node for name in proto.output} | {value.name for value in values}
    read = dict.fromkeys(name for proto in graph.node for name in proto.input if name)
    for index in sorted(chosen):
        read.update(dict.fromkeys(sorted(network.nodes[index].captures)))
    read.update(dict.fromkeys(outputs))  # of which some may be handed through
    feeds = []
    for name in read:
        if name in made:
            continue
        initializer = network.initializer(name)
        if initializer is not None:
            graph.initializer.append(initializer)
        elif network.sparse_initializer(name) is not None:
            graph.sparse_initializer.append(network.sparse_initializer(name))
        else:
            feeds.append(name)
            graph.input.append(_value_info(network, name))
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs)
    model = onnx.ModelProto(ir_version=max(network.model.ir_version, 4), graph=graph)
    model.opset_import.extend(network.model.opset_import)
    model.functions.extend(network.model.functions)
    return model, tuple(feeds)


def _value_info(network: Network, name: str) -> onnx.ValueInfoProto:
    dtype = network.dtype(name)
    if dtype is None:
        raise ModelError(
            f"The element type of tensor {name!r} is not known: it comes from an operator that shape inference does "
            "not know and that onnxruntime does not run here. This model cannot be optimized."
        )
    shape = network.shape(name)
    sizes: list[int | None] | None = None if shape is None else [None] * len(shape)
    if shape is not None and len(shape) == 1 and are_sizes(network, name):  # which onnxruntime wants to know
        sizes = list(shape)
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(dtype), sizes)


def _layer_proto(
    network: Network, layer: Layer, convolution: Convolution
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    dtype = network.dtype(layer.output) or "float32"
    names = [f"{layer.output}//weight", f"{layer.output}//bias"]
    weight = dense(convolution).weight if convolution.rank == 0 else convolution.weight
    arrays = (weight.astype(dtype), convolution.bias.astype(dtype))
    tensors = [onnx.numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
    inputs = [layer.source, *names]
    if convolution.rank == 0:
        return onnx.helper.make_node("Gemm", inputs, [layer.output], transB=1), tensors
    proto = onnx.helper.make_node(
        "Conv",
        inputs,
        [layer.output],
        dilations=convolution.dilations,
        group=convolution.groups,
        kernel_shape=convolution.kernel_shape,
        pads=[*convolution.pads_begin, *convolution.pads_end],
        strides=convolution.strides,
    )
    return proto, tensors
