"""What a model holds that files in the wild hold too, by name."""

from collections.abc import Iterator

import onnx

from onnxshallow.model.network import bodies, outer_references

__all__ = ["PROMISED", "features"]

PROMISED = (
    *(f"op {op}" for op in ("Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Constant", "Conv", "Div")),
    *(f"op {op}" for op in ("Dropout", "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Identity", "If")),
    *(f"op {op}" for op in ("LeakyRelu", "MatMul", "MaxPool", "Mul", "PRelu", "Pad", "Relu", "Reshape", "Resize")),
    *(f"op {op}" for op in ("Slice", "Squeeze", "Sub", "Sum", "Upsample", "Gather", "Neg", "Shape")),
    *(f"op {op}" for op in ("SpaceToDepth", "Split", "Transpose")),
    *(f"opset {opset}" for opset in range(7, 23)),
    *(f"IR {ir}" for ir in (3, 4, 6, 7, 8, 9, 10)),
    *(f"convolutions of {rank} axes" for rank in (1, 2, 3)),
    *(f"auto_pad {mode}" for mode in ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")),
    "a stride",
    "a dilation",
    "groups",
    "a depthwise convolution",
    "asymmetric pads",
    "negative pads",
    "a constant for each of as many columns as channels",
    "float16",
    "an open batch",
    "a fixed batch",
    "open sizes",
    "several inputs",
    "several outputs",
    "an output in the middle",
    "a tensor with several consumers",
    "a shared weight",
    "a weight from a Constant node",
    "a weight behind an Identity",
    "a weight that callers may override",
    "weights listed as inputs",
    "unnamed nodes",
    "equal node names",
    "an omitted optional input",
    "a body that captures a tensor",
    "dead nodes",
)
"""What the generator draws sooner or later."""


def features(model: onnx.ModelProto) -> set[str]:
    """The features of a model."""
    return (
        set(_of_graph(model))
        | {name for node in model.graph.node for name in _of_node(node)}
        | set(_of_weights(model))
    )


def _of_graph(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    yield f"opset {model.opset_import[0].version}"
    yield f"IR {model.ir_version}"
    first, *sizes = inputs[0].type.tensor_type.shape.dim
    yield "a fixed batch" if first.HasField("dim_value") else "an open batch"
    if any(not size.HasField("dim_value") for size in sizes[1:]):
        yield "open sizes"
    if inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16:
        yield "float16"
    if len(inputs) > 1:
        yield "several inputs"
    if len(graph.output) > 1:
        yield "several outputs"
    names = [node.name for node in graph.node]
    if not any(names):
        yield "unnamed nodes"
    if any(names) and len(set(names)) < len(names):
        yield "equal node names"
    reads = [name for node in graph.node for name in set(node.input)]
    reads += [name for node in graph.node for body in bodies(node) for name in outer_references(body)]
    made = {name for node in graph.node for name in node.output}
    outputs = {value.name for value in graph.output}
    if outputs & set(reads):
        yield "an output in the middle"
    if any(reads.count(name) > 1 for name in made):
        yield "a tensor with several consumers"
    if any(not set(node.output) & (set(reads) | outputs) for node in graph.node):
        yield "dead nodes"


def _of_node(node: onnx.NodeProto) -> Iterator[str]:
    yield f"op {node.op_type}"
    if "" in node.input:
        yield "an omitted optional input"
    if any(outer_references(body) for body in bodies(node)):
        yield "a body that captures a tensor"
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Pad" and min(values.get("pads", [0])) < 0:
        yield "negative pads"
    if node.op_type != "Conv":
        return
    if "auto_pad" in values:
        yield f"auto_pad {values['auto_pad'].decode()}"
    pads = values.get("pads", [])
    if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        yield "asymmetric pads"
    if max(values.get("strides", [1])) > 1:
        yield "a stride"
    if max(values.get("dilations", [1])) > 1:
        yield "a dilation"
    if values.get("group", 1) > 1:
        yield "groups"


def _of_weights(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    listed = {value.name for value in graph.input}
    kernels = [(node, node.input[1]) for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    for node, name in kernels:
        maker = makers.get(name)
        if maker is not None:
            yield "a weight from a Constant node" if maker.op_type == "Constant" else "a weight behind an Identity"
        elif name in listed:
            yield "weights listed as inputs" if model.ir_version < 4 else "a weight that callers may override"
        if node.op_type == "Conv" and name in weights:
            out, inner, *kernel = weights[name].dims
            yield f"convolutions of {len(kernel)} axes"
            groups = [attribute.i for attribute in node.attribute if attribute.name == "group"]
            if inner == 1 and groups == [out] and out > 1:
                yield "a depthwise convolution"
    reads = [name for node in graph.node for name in node.input]
    if any(reads.count(name) > 1 for name in weights):
        yield "a shared weight"
    channels = {
        node.output[0]: weights[name].dims[0] for node, name in kernels if node.op_type == "Conv" and name in weights
    }
    for node in graph.node:
        if node.op_type in ("Add", "Mul", "Sub", "Div"):
            sizes = [channels[name] for name in node.input if name in channels]
            if any(list(weights[name].dims) == sizes for name in node.input if name in weights and sizes != [1]):
                yield "a constant for each of as many columns as channels"
    pads = {node.input[1] for node in graph.node if node.op_type == "Pad" and len(node.input) > 1}
    if any(onnx.numpy_helper.to_array(weights[name]).min() < 0 for name in pads & set(weights)):
        yield "negative pads"
