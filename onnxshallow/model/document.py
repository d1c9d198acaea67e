"""Models as files: load, check, and save without losing anything or leaving half a file behind."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper

from onnxshallow.errors import ModelError
from onnxshallow.model.files import atomic_path, temporary_beside
from onnxshallow.model.session import Session

__all__ = ["Document", "load_document", "save_model"]

logger = logging.getLogger(__name__)

# protobuf cannot serialize more than 2 GiB; what is close to it goes to a data file.
_MAX_INLINE_BYTES = 2_000_000_000
# Tensors smaller than this stay in the .onnx file when a model has external data.
_EXTERNAL_THRESHOLD = 1024


@dataclass(frozen=True)
class Document:
    """A loaded model.

    Attributes:
        path: where it came from.
        model: the whole model, external data loaded. Not to be changed.
        sha256: digest of the file at `path` (without external data).
        external: whether any tensor came from a file beside the model.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    external: bool


def load_document(path: str | os.PathLike[str]) -> Document:
    """Read and check a model.

    Args:
        path: an `.onnx` file.

    Returns:
        The document, external data loaded.

    Raises:
        ModelError: the file is missing, is no ONNX model, fails onnx's checker, or names external data that
            is missing or lies outside the model's folder.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}.") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX model, or is truncated: it does not parse as one.") from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise ModelError(f"{path} is not an ONNX model: it holds no graph with nodes.")
    external = _load_external_data(model, path)
    _check(model, path, external)
    return Document(path, model, hashlib.sha256(content).hexdigest(), external)


def _load_external_data(model: onnx.ModelProto, path: Path) -> bool:
    """Read external tensors into `model`; whether there were any."""
    folder = path.resolve().parent
    external = False
    for tensor in external_data_helper._get_all_tensors(model):
        if not external_data_helper.uses_external_data(tensor):
            continue
        external = True
        location = external_data_helper.ExternalDataInfo(tensor).location
        target = (folder / location).resolve()
        if not target.is_relative_to(folder):
            raise ModelError(
                f"Tensor {tensor.name!r} of {path} wants external data from {location!r}, outside the model's "
                "folder; this is refused. Copy the data file beside the model and correct its location."
            )
        if not target.is_file():
            raise ModelError(f"The external data file {location!r} of {path} is missing (tensor {tensor.name!r}).")
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:
            raise ModelError(f"Cannot read tensor {tensor.name!r} of {path} from {location!r}: {error}.") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return external


def _check(model: onnx.ModelProto, path: Path, external: bool) -> None:
    """Raise ModelError unless onnx's checker accepts the model."""
    try:
        if external and model.ByteSize() > _MAX_INLINE_BYTES:
            onnx.checker.check_model(str(path))
        else:
            onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        message = str(error).strip().splitlines()[0].rstrip(".")
        if "No Op registered" in message or "No opset import for domain" in message:
            logger.info("%s uses operators that onnx does not know: %s", path, message)
            return
        try:
            Session(model)
        except ModelError:
            raise ModelError(f"{path} is not a valid ONNX model: {message}.") from error
        logger.warning("onnx's checker refuses %s (%s), but onnxruntime runs it.", path, message)


def save_model(model: onnx.ModelProto, path: str | os.PathLike[str], *, external: bool = False) -> None:
    """Write a model so that `path` holds either what it held before or the whole new model.

    Args:
        model: the model; it is not changed.
        path: where to write. With external data a file `<name>.data` is written beside it, whose own name ends
            in the digest of what it holds, so that no other model's data is overwritten.
        external: write large tensors to a data file, as for a model that came with one; also done for models
            over 2 GB.

    Raises:
        ModelError: the folder cannot be written to.
    """
    path = Path(path)
    external = external or model.ByteSize() > _MAX_INLINE_BYTES
    try:
        if external:
            model = _write_external(model, path)
        with atomic_path(path) as temporary:
            temporary.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as error:
        raise ModelError(f"Cannot write {path}: {error.strerror or error}.") from error


def _write_external(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Write the large tensors of a copy of `model` beside `path`; the copy, which refers to them."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    digest = hashlib.sha256()
    offset = 0
    placed: list[tuple[onnx.TensorProto, int, int]] = []
    with temporary_beside(path) as data:
        with data.open("wb") as stream:
            for tensor in light.graph.initializer:
                content = _raw_bytes(tensor)
                if len(content) < _EXTERNAL_THRESHOLD:
                    continue
                padding = -offset % 4096
                for part in (b"\0" * padding, content):
                    stream.write(part)
                    digest.update(part)
                placed.append((tensor, offset + padding, len(content)))
                offset += padding + len(content)
        name = f"{path.name}.{digest.hexdigest()[:12]}.data"
        for tensor, start, length in placed:
            tensor.ClearField("float_data")
            tensor.raw_data = b""  # set_external_data asks for the field
            external_data_helper.set_external_data(tensor, name, start, length)
            tensor.ClearField("raw_data")
        if placed:
            os.replace(data, path.parent / name)
    return light


def _raw_bytes(tensor: onnx.TensorProto) -> bytes:
    """What a tensor's data file would hold; empty for element types that are not written to one."""
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return b""
    values: np.ndarray = onnx.numpy_helper.to_array(tensor)
    return values.astype("<f4").tobytes()
