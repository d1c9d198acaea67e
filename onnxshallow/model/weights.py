"""Values of tensors, in the model itself or in a data file that is read when they are asked for.

A protobuf message cannot be copied or serialized beyond 2 GiB, so large models stay light: their initializers name
the data file by its absolute path, and values are mapped into memory one tensor at a time.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper, numpy_helper

__all__ = ["byte_size", "data_bytes", "is_apart", "keep_apart", "raw_pieces", "value_of", "with_relative_locations"]

# Large values pass through memory in pieces of this size.
_PIECE = 16 << 20


def is_apart(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values lie in a data file."""
    return bool(external_data_helper.uses_external_data(tensor))


def keep_apart(tensor: onnx.TensorProto, path: Path, offset: int) -> None:
    """Let a tensor refer to its values in the file `path`, from byte `offset` on; values inside it are dropped."""
    tensor.ClearField("float_data")
    tensor.raw_data = b""  # set_external_data asks for the field
    external_data_helper.set_external_data(tensor, str(path), offset, data_bytes(tensor))
    tensor.ClearField("raw_data")


def value_of(tensor: onnx.TensorProto) -> np.ndarray:
    """The values, not to be written to; those of a tensor that `is_apart` are read from the disk as they are used."""
    if is_apart(tensor):
        info = external_data_helper.ExternalDataInfo(tensor)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.memmap(info.location, dtype, mode="r", offset=info.offset or 0, shape=tuple(tensor.dims))
    value: np.ndarray = numpy_helper.to_array(tensor)
    value.setflags(write=False)
    return value


def raw_pieces(tensor: onnx.TensorProto) -> Iterator[bytes]:
    """What a tensor's data file holds, in order; nothing for element types that are not written to one."""
    if is_apart(tensor):
        info = external_data_helper.ExternalDataInfo(tensor)
        left = info.length
        with open(info.location, "rb") as stream:
            stream.seek(info.offset or 0)
            while left > 0:
                piece = stream.read(min(left, _PIECE))
                if not piece:
                    raise EOFError(f"{info.location} has become shorter")
                left -= len(piece)
                yield piece
    elif tensor.HasField("raw_data"):
        yield bytes(tensor.raw_data)
    elif tensor.data_type == onnx.TensorProto.FLOAT:
        yield value_of(tensor).astype("<f4").tobytes()


def byte_size(model: onnx.ModelProto) -> int:
    """Bytes of a model with all its weights."""
    return int(model.ByteSize()) + sum(data_bytes(tensor) for tensor in model.graph.initializer if is_apart(tensor))


def with_relative_locations(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    """`model` with its data files named relative to a folder, and that folder; `model` and None if it has none."""
    files = {external_data_helper.ExternalDataInfo(t).location for t in model.graph.initializer if is_apart(t)}
    if not files:
        return model, None
    folder = Path(next(iter(files))).parent
    while not all(Path(name).is_relative_to(folder) for name in files):
        folder = folder.parent
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = Path(entry.value).relative_to(folder).as_posix()
    return light, folder


def data_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that the values of a tensor take, of a type whose elements take whole bytes each.

    Raises:
        KeyError: an element type that onnx does not know.
    """
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims) * dtype.itemsize)
