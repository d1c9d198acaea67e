"""Shapes and element types of all tensors of a graph, for one sample."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx

from onnxshallow.errors import ModelError, UsageError
from onnxshallow.model.tensors import TensorInfo

__all__ = [
    "OWN_DOMAIN",
    "all_names",
    "bodies",
    "every_node",
    "infer_shapes",
    "numpy_dtype",
    "observe_shapes",
    "tensor_info",
    "without_large_values",
]

logger = logging.getLogger(__name__)

OWN_DOMAIN = "onnxshallow"
"""Of the local functions that a model calls while it is spelled plainly (`onnxshallow.model.spelling.smooth`)."""

# Operators whose values onnx's inference follows, and the most elements that it may follow.
_FOLLOWED = frozenset(
    ("Add", "Cast", "Concat", "Div", "Gather", "Identity", "Mul", "Neg", "Range", "Size", "Slice", "Squeeze", "Sub")
) | {"Unsqueeze"}
_MAX_FOLLOWED = 1 << 14


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The subgraphs of an If, Loop or Scan; none for other nodes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def every_node(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the bodies in it."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from every_node(body)


def all_names(graph: onnx.GraphProto) -> set[str]:
    """Every tensor name in a graph and in the bodies in it, read or not."""
    names = {tensor.name for tensor in graph.initializer}
    names |= {tensor.values.name for tensor in graph.sparse_initializer}
    names |= {value.name for value in (*graph.input, *graph.output, *graph.value_info)}
    for node in graph.node:
        names.update(node.input, node.output, *(all_names(body) for body in bodies(node)))
    return names


def numpy_dtype(elem_type: int) -> np.dtype | None:
    """The numpy type of an ONNX element type; None for types that numpy lacks or that are not given."""
    try:
        dtype: np.dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
        return dtype
    except (KeyError, ValueError, TypeError):
        return None


def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    """What a graph says of one of its tensors."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return TensorInfo(value.name, numpy_dtype(kind.elem_type), None)
    sizes = tuple(_size(dim) for dim in kind.shape.dim)
    return TensorInfo(value.name, numpy_dtype(kind.elem_type), sizes)


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value > 0 else None
    return dim.dim_param or None


def infer_shapes(
    model: onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    known: Mapping[str, np.ndarray] | None = None,
) -> dict[str, TensorInfo]:
    """Infer what is known of every tensor of `model`'s main graph.

    Shapes that the file states for inner tensors are not trusted: exporters leave stale ones behind. A first
    axis of unknown size is taken as a batch of one.

    Args:
        model: the model; it is not changed.
        input_shapes: shapes for inputs, by name, where the file leaves axes open.
        known: values of tensors that nodes compute from constants.

    Returns:
        An entry for every tensor of which at least the element type is known, initializers included.

    Raises:
        UsageError: `input_shapes` names an input that the model lacks, or contradicts its rank or a fixed size.
    """
    skeleton = without_large_values(model)
    _insert_known(skeleton.graph, known or {})
    wanted = dict(input_shapes or {})
    given = {tensor.name for tensor in model.graph.initializer}
    for value in skeleton.graph.input:
        if value.name not in given:
            _fix_sizes(value, wanted.pop(value.name, None))
    inputs = {value.name: value for value in skeleton.graph.input}
    for value in skeleton.graph.output:  # an input that is passed on has one shape, not two
        if value.name in inputs:
            value.CopyFrom(inputs[value.name])
    if wanted:
        names = ", ".join(value.name for value in model.graph.input if value.name not in given)
        raise UsageError(
            f"--input-shape names {sorted(wanted)[0]!r}, but the model's inputs are: {names}. Use one of these."
        )
    infos = _infer(skeleton, values=False)
    if _may_follow_values(skeleton, infos):
        infos = _infer(skeleton, values=True)
    for tensor in model.graph.initializer:
        infos[tensor.name] = TensorInfo(tensor.name, numpy_dtype(tensor.data_type), tuple(tensor.dims))
    return infos


def observe_shapes(
    model: onnx.ModelProto, infos: Mapping[str, TensorInfo], tensors: Sequence[str]
) -> dict[str, TensorInfo]:
    """Complete `infos` by running the model once on zeros and looking at `tensors`.

    Returns:
        `infos` with the entries of `tensors` replaced by what was seen; `infos` as they are where an input's size
        is open or onnxruntime does not run the model.
    """
    from onnxshallow.model.session import Session

    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [infos[value.name] for value in model.graph.input if value.name not in given]
    if not all(info.is_complete for info in inputs):
        return dict(infos)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    listed = {value.name for value in model.graph.output}
    probe.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in tensors if name not in listed
    )
    feeds = {info.name: np.zeros([int(s or 0) for s in info.shape or ()], info.dtype) for info in inputs}
    try:
        session = Session(probe, optimize=False)
        values = session.run(feeds)
    except (ModelError, ValueError) as error:
        logger.info("Shapes stay open: %s", error)
        return dict(infos)
    seen = zip(session.output_names, values, strict=True)
    arrays = {name: value for name, value in seen if isinstance(value, np.ndarray)}
    return {**infos, **{name: TensorInfo(name, value.dtype, value.shape) for name, value in arrays.items()}}


def _infer(skeleton: onnx.ModelProto, *, values: bool) -> dict[str, TensorInfo]:
    """What onnx infers, also from the values of shapes that the graph computes if `values`."""
    try:
        graph = onnx.shape_inference.infer_shapes(skeleton, data_prop=values).graph
    except Exception as error:  # inference is best effort; a checker's complaint is made elsewhere
        logger.info("Shape inference failed: %s", error)
        graph = skeleton.graph
    return {v.name: tensor_info(v) for v in (*graph.value_info, *graph.input, *graph.output)}


def _may_follow_values(skeleton: onnx.ModelProto, infos: Mapping[str, TensorInfo]) -> bool:
    """Whether following values can tell more, and is sure to take little memory.

    onnx follows the values of every tensor of one axis, element by element, however long it is. So each that it
    would come across must be known to be short; inside bodies and functions that is not known.
    """
    nodes = skeleton.graph.node
    known = {**infos, **{t.name: TensorInfo(t.name, None, tuple(t.dims)) for t in skeleton.graph.initializer}}
    outputs = [name for node in nodes for name in node.output if name]
    if all(name in infos and infos[name].is_complete for name in outputs):
        return False
    if any(function.domain != OWN_DOMAIN for function in skeleton.functions) or any(
        inside.op_type in _FOLLOWED for node in nodes for body in bodies(node) for inside in every_node(body)
    ):
        return False
    read = {name for node in nodes if node.op_type in _FOLLOWED for name in (*node.input, *node.output) if name}
    return all(_is_short(known.get(name)) for name in read)


def _is_short(info: TensorInfo | None) -> bool:
    if info is None or info.shape is None:
        return False
    return len(info.shape) > 1 or all(isinstance(size, int) and size <= _MAX_FOLLOWED for size in info.shape)


def _insert_known(graph: onnx.GraphProto, known: Mapping[str, np.ndarray]) -> None:
    """Let `known` tensors be initializers in place of the outputs of the nodes that compute them."""
    if not known:
        return
    nodes = [node for node in graph.node if not set(node.output) & set(known)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in known.items())


def _fix_sizes(value: onnx.ValueInfoProto, shape: Sequence[int] | None) -> None:
    dims = value.type.tensor_type.shape.dim
    if shape is None:
        if (dims and not _size(dims[0])) or (dims and dims[0].dim_param):
            dims[0].Clear()
            dims[0].dim_value = 1
        return
    if not value.type.tensor_type.HasField("shape"):
        for _ in shape:
            dims.add()
    if len(dims) != len(shape):
        raise UsageError(
            f"--input-shape gives {len(shape)} sizes for input {value.name!r}, which has {len(dims)} axes; "
            "give one for each."
        )
    for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        fixed = _size(dim)
        if isinstance(fixed, int) and fixed != size:
            raise UsageError(
                f"--input-shape gives {size} for axis {axis} of input {value.name!r}, which the model fixes "
                f"to {fixed}; give that."
            )
        dim.Clear()
        dim.dim_value = size


def without_large_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` for shape inference: large initializers as typed inputs, no stated inner shapes."""
    skeleton = onnx.ModelProto()
    skeleton.ir_version = max(model.ir_version, 4)
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    given = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in given)
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims, dtype=np.int64)) <= 1024 and not tensor.external_data:
            graph.initializer.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return skeleton
