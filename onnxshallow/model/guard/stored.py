"""What is stored in a model: names that are text, and tensors whose sizes agree with the bytes that are there."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import TensorProto

from onnxshallow.errors import ModelError
from onnxshallow.model.weights import is_apart, raw_pieces

__all__ = ["require_readable_names", "require_sound_tensors"]

# numpy's own limit.
_MAX_AXES = 64
# Elements that are smaller than a byte, and where values lie that are not raw bytes: else in int32_data.
_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
_FIELDS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.STRING: "string_data",
}

# Where no name stands: notes of people and programs, and values.
_NOT_NAMES = frozenset({"doc_string", "metadata_props", "producer_name", "producer_version"})


def require_readable_names(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a model in which a name is no UTF-8, as the format demands.

    Raises:
        ModelError: shows the name.
    """
    for name in _unreadable(model):
        raise ModelError(
            f"The name {name!r} in {path} is no valid UTF-8; the file is damaged. Export or copy it again."
        )


def _unreadable(message: Message) -> Iterator[bytes]:
    """Strings that protobuf could not decode, which it gives as bytes."""
    for field, value in message.ListFields():
        if field.name in _NOT_NAMES:
            continue
        many = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from (text for text in many if isinstance(text, bytes))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inside in many:
                yield from _unreadable(inside)


def require_sound_tensors(model: onnx.ModelProto, path: Path, max_tensor: int) -> None:
    """Refuse tensors that are not what they say.

    Args:
        model: a parsed model, external data loaded or kept in its files.
        path: its file, for messages.
        max_tensor: the most bytes that a sparse tensor may stand for.

    Raises:
        ModelError: names the tensor.
    """
    for tensor, weight in _tensors(model):
        _require_consistent(tensor, path)
        if weight and _holds_nan(tensor):
            raise ModelError(
                f"Weight {tensor.name!r} of {path} holds NaN, so what the model computes means nothing; "
                "train or export it again."
            )
    for sparse in _sparse_tensors(model):
        _require_sound_sparse(sparse, path, max_tensor)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _graphs(body)


def _attributes(model: onnx.ModelProto) -> Iterator[onnx.AttributeProto]:
    nodes = [node for function in model.functions for node in function.node]
    nodes += [node for graph in _graphs(onnx.GraphProto(node=nodes)) for node in graph.node]
    for graph in _graphs(model.graph):
        nodes += graph.node
    for node in nodes:
        yield from node.attribute


def _tensors(model: onnx.ModelProto) -> Iterator[tuple[TensorProto, bool]]:
    """Every dense tensor, and whether it is an initializer."""
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            yield tensor, True
    for attribute in _attributes(model):
        if attribute.HasField("t"):
            yield attribute.t, False
        for tensor in attribute.tensors:
            yield tensor, False


def _sparse_tensors(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in _graphs(model.graph):
        yield from graph.sparse_initializer
    for attribute in _attributes(model):
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor
        yield from attribute.sparse_tensors


def _require_consistent(tensor: TensorProto, path: Path) -> None:
    where = f"Tensor {tensor.name!r} of {path}"
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise ModelError(
            f"{where} has the unknown element type {tensor.data_type}; the file is damaged. Export or copy it again."
        )
    _require_possible_shape(tensor.dims, where)
    if is_apart(tensor):
        return  # compared with the data file when it was found
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        needed, found, unit = -(-count * _bits(tensor.data_type) // 8), len(tensor.raw_data), "bytes"
    else:
        field = _FIELDS.get(tensor.data_type, "int32_data")
        needed, found, unit = count, len(getattr(tensor, field)), f"values in {field}"
        if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
            needed *= 2
        elif _bits(tensor.data_type) < 6:  # several share a byte, and a value of the field
            needed = -(-count * _bits(tensor.data_type) // 8)
    if found != needed:
        sizes = "x".join(map(str, tensor.dims))
        raise ModelError(
            f"{where} says that it is of shape {sizes}, for which {needed} {unit} are needed, but holds {found}; the "
            "file is damaged. Export or copy it again."
        )


def _require_possible_shape(dims: "object", where: str) -> None:
    sizes = list(dims)  # type: ignore[call-overload]
    if len(sizes) > _MAX_AXES:
        raise ModelError(f"{where} has {len(sizes)} axes; the limit is {_MAX_AXES}. Export the model with fewer.")
    if any(size < 0 for size in sizes):
        raise ModelError(
            f"{where} has the shape {sizes}, which is impossible; the file is damaged. Export or copy it again."
        )


def _bits(data_type: int) -> int:
    """Bits of an element; strings, whose bytes are not counted, as one byte."""
    name = TensorProto.DataType.Name(data_type)
    if name in _BITS:
        return _BITS[name]
    if data_type == TensorProto.STRING:
        return 8
    return int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8


def _holds_nan(tensor: TensorProto) -> bool:
    """Whether a float tensor holds NaN; infinities are values that masks are made of."""
    if tensor.data_type == TensorProto.BFLOAT16:
        return any(bool((piece & 0x7FFF > 0x7F80).any()) for piece in _pieces(tensor, np.dtype("<u2")))
    dtypes = {TensorProto.FLOAT: "<f4", TensorProto.DOUBLE: "<f8", TensorProto.FLOAT16: "<f2"}
    if tensor.data_type not in dtypes:
        return False
    # The smallest value is NaN where any is; no second array is made to find that out.
    return any(bool(np.isnan(piece.min())) for piece in _pieces(tensor, np.dtype(dtypes[tensor.data_type])))


def _pieces(tensor: TensorProto, dtype: np.dtype) -> Iterator[np.ndarray]:
    """The values of a tensor, part by part."""
    if tensor.HasField("raw_data") or is_apart(tensor):
        for piece in raw_pieces(tensor):
            if piece:
                yield np.frombuffer(piece, dtype)
    elif math.prod(tensor.dims):
        values: np.ndarray = onnx.numpy_helper.to_array(tensor)
        yield values.reshape(-1).view(dtype)


def _require_sound_sparse(sparse: onnx.SparseTensorProto, path: Path, max_tensor: int) -> None:
    """What it stands for when it is written out must be small enough, and its values must lie inside it."""
    where = f"Sparse tensor {sparse.values.name!r} of {path}"
    _require_possible_shape(sparse.dims, where)
    for part in (sparse.values, sparse.indices):
        _require_consistent(part, path)
    count = math.prod(sparse.dims)
    if count * _bits(sparse.values.data_type) // 8 > max_tensor:
        raise ModelError(
            f"{where} has the shape {list(sparse.dims)}, which takes more than the limit of {max_tensor >> 20} MiB "
            "when it is written out. If you trust the file, raise --max-tensor."
        )
    indices = onnx.numpy_helper.to_array(sparse.indices)
    bounds = np.asarray(sparse.dims) if indices.ndim == 2 else np.asarray([count])
    inside = indices.size == 0 or (indices.dtype.kind == "i" and bool(((indices >= 0) & (indices < bounds)).all()))
    if not inside:
        raise ModelError(
            f"{where} places a value outside its shape {list(sparse.dims)}; the file is damaged. Export or copy it "
            "again."
        )
