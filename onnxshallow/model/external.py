"""Data files beside a model: they are read from the model's folder alone, and written so that none is overwritten."""

import hashlib
import itertools
import logging
import mmap
import os
import re
from contextlib import suppress
from pathlib import Path

import onnx
from onnx import external_data_helper

from onnxshallow.errors import ModelError
from onnxshallow.model.files import temporary_beside
from onnxshallow.model.weights import data_bytes, is_apart, keep_apart, raw_pieces

__all__ = ["read_external_data", "remove_stale_data", "write_external_data"]

logger = logging.getLogger(__name__)

# A model with more data than this keeps its large tensors on disk (`onnxshallow.model.weights`).
_MOST_IN_MEMORY = 1 << 30
# Tensors of fewer bytes than this are never kept on disk, or written to a data file.
_LEAST_ON_DISK, _LEAST_WRITTEN = 1 << 20, 1024


def read_external_data(model: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Read the values that lie in data files into `model`, or let it refer to them where they are very large.

    Args:
        model: a parsed model; it is changed.
        path: its file; data files must lie in the same folder or below. Where the file is a link, as in the cache of
            the Hugging Face hub, they may be links beside it to the folder that the model itself lies in.

    Returns:
        The data files.

    Raises:
        ModelError: a file is missing, lies elsewhere, or does not hold what the model says.
    """
    apart = [tensor for tensor in external_data_helper._get_all_tensors(model) if is_apart(tensor)]
    places = [_find(tensor, path) for tensor in apart]
    large = sum(length for _, _, length in places) > _MOST_IN_MEMORY
    initializers = list(model.graph.initializer)
    for tensor, (file, offset, length) in zip(apart, places, strict=True):
        kept = large and length >= _LEAST_ON_DISK and _is_plain(tensor)
        if kept and any(tensor is initializer for initializer in initializers):
            keep_apart(tensor, file, offset)
            continue
        with file.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return tuple(dict.fromkeys(file for file, _, _ in places))


def _find(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int, int]:
    """The file, the first byte and the number of bytes of a tensor's values."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        folder, own = path.parent.resolve(), path.resolve().parent
        target = (folder / location).resolve()
        if not target.is_file() and (own / location).is_file():  # the link stands elsewhere, the data by the model
            target = (own / location).resolve()
        if not (target.is_relative_to(folder) or target.is_relative_to(own)):
            raise ModelError(
                f"Tensor {tensor.name!r} of {path} wants external data from {location!r}, outside the model's "
                "folder; this is refused. Copy the data file beside the model and correct its location."
            )
        if not target.is_file():
            raise ModelError(
                f"The external data file {location!r} of {path} is missing (tensor {tensor.name!r}); copy it beside "
                "the model."
            )
        size = target.stat().st_size
        offset = int(entries.get("offset") or 0)
        needed = data_bytes(tensor) if _is_plain(tensor) else size - offset
        length = int(entries.get("length") or needed)
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # RuntimeError: a link leads in circles
        raise ModelError(
            f"The place of tensor {tensor.name!r} of {path} in its data file {location!r} is damaged: {error}. "
            "Export the model again."
        ) from error
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelError(
            f"Tensor {tensor.name!r} of {path} is said to be {length} bytes from byte {offset} on in {location!r}, "
            f"which holds {size} bytes; the data file is truncated, or another model's. Copy it again."
        )
    if length != needed and _is_plain(tensor):
        raise ModelError(
            f"Tensor {tensor.name!r} of {path} has {length} bytes in {location!r} where {needed} are needed; "
            "export it again."
        )
    return target, offset, length


def _is_plain(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie in the file as they lie in memory, one element after the other."""
    return tensor.data_type not in (
        onnx.TensorProto.STRING,
        onnx.TensorProto.INT4,
        onnx.TensorProto.UINT4,
        onnx.TensorProto.FLOAT4E2M1,
    )


def write_external_data(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Write the large tensors of a model to a data file beside `path`, named after the digest of what it holds.

    Returns:
        A copy of the model that refers to the file; the model as it is where no tensor is large.

    Raises:
        OSError: the folder cannot be written to.
    """
    light = onnx.ModelProto()
    light.CopyFrom(model)
    digest = hashlib.sha256()
    offset = 0
    placed: list[tuple[onnx.TensorProto, int]] = []
    with temporary_beside(path) as data:
        with data.open("wb") as stream:
            for tensor in light.graph.initializer:
                pieces = raw_pieces(tensor)
                first = next(pieces, b"")
                if len(first) < _LEAST_WRITTEN and not is_apart(tensor):
                    continue
                padding = -offset % 4096
                placed.append((tensor, offset + padding))
                for part in itertools.chain((b"\0" * padding, first), pieces):
                    stream.write(part)
                    digest.update(part)
                offset = stream.tell()
        name = f"{path.name}.{digest.hexdigest()[:12]}.data"
        for tensor, start in placed:
            keep_apart(tensor, Path(name), start)
        if placed:
            os.replace(data, path.parent / name)
    return light


def remove_stale_data(path: Path) -> None:
    """Remove data files of earlier models called `path` that no other file in the folder names."""
    ours = re.compile(rf"{re.escape(path.name)}\.[0-9a-f]{{12}}\.data")
    stale = {entry.name for entry in os.scandir(path.parent) if ours.fullmatch(entry.name)}
    if not stale:
        return
    for entry in os.scandir(path.parent):
        if entry.is_file() and entry.name not in stale and entry.stat().st_size:
            stale -= _named_in(Path(entry.path), stale)
    for name in stale:
        logger.info("Removing %s, which belongs to no model any more.", path.parent / name)
        with suppress(OSError):
            os.unlink(path.parent / name)


def _named_in(file: Path, names: set[str]) -> set[str]:
    """Which of `names` occur in a file; all of them where it cannot be read."""
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return {name for name in names if content.find(name.encode()) >= 0}
    except (OSError, ValueError):
        return set(names)
