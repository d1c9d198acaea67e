"""Models as files: load, check, and save without losing anything or leaving half a file behind."""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, Union

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import external_data_helper

from onnxshallow.errors import ModelError
from onnxshallow.model.external import read_external_data, remove_stale_data, write_external_data
from onnxshallow.model.files import atomic_path, file_digest, same_file
from onnxshallow.model.guard.limits import MAX_TENSOR, require_types, require_within_limits
from onnxshallow.model.measurable import Measurable, measurable
from onnxshallow.model.session import Session
from onnxshallow.model.spelling import Plain, plainly_spelled
from onnxshallow.model.weights import byte_size, is_apart

__all__ = ["MEMORY", "Document", "ModelSource", "as_document", "load_document", "remove_model", "save_model"]

logger = logging.getLogger(__name__)

MEMORY = Path("<memory>")
"""What stands for the path of a model that came from no file."""

# protobuf cannot serialize more than 2 GiB; what is close to it goes to a data file.
_MAX_INLINE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Document:
    """A loaded model.

    Attributes:
        path: where it came from; `<memory>` for a model that came from no file.
        model: the whole model; very large tensors of data files stay there (`onnxshallow.model.weights`). Not to be
            changed.
        sha256: digest of the file at `path`, without its data files; in memory, of what such a file would hold.
        data_files: the files that hold some of its tensors.
        is_frozen: whether weights were taken off the model's inputs.
        stand_in: what `model` is made by, where that stands for a model that cannot be measured as it is.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    data_files: tuple[Path, ...] = ()
    is_frozen: bool = False
    stand_in: Measurable | None = None

    @cached_property
    def plain(self) -> Plain:
        """The model in the one spelling that all further rooms know, and the way back."""
        return plainly_spelled(self.model)

    def measurable(self, *, scores: bool = True) -> "Document":
        """The same, with a model that can be measured, see `onnxshallow.model.measurable`."""
        made = measurable(self.model, scores=scores) if self.stand_in is None else self.stand_in
        return replace(self, model=made.model, stand_in=made)

    @property
    def between(self) -> frozenset[str]:
        """What the file's own nodes read of a stand-in's, or make for it."""
        return frozenset() if self.stand_in is None else self.stand_in.between

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is measured otherwise than one might expect, for people."""
        return () if self.stand_in is None else self.stand_in.remarks

    def sizes(self, shapes: Mapping[str, Sequence[int]] | None) -> Mapping[str, Sequence[int]] | None:
        """Shapes that a user gave for inputs, by name, as `model` has them."""
        return shapes if self.stand_in is None else self.stand_in.sizes(shapes)

    def written(self, made: onnx.ModelProto) -> onnx.ModelProto:
        """What was made of `model`, with the inputs and outputs that the file has."""
        return made if self.stand_in is None else self.stand_in.restored(made)

    @property
    def external(self) -> bool:
        """Whether any tensor came from a data file."""
        return bool(self.data_files)

    def owns(self, path: Path) -> bool:
        """Whether `path` is one of the model's own files, by whatever name."""
        return any(same_file(path, file) for file in (self.path, *self.data_files) if file != MEMORY)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the model with its data files, and of what was done to it."""
        if not self.data_files and not self.is_frozen:
            return self.sha256
        parts = [
            self.sha256,
            *(file_digest(path) for path in self.data_files),
            *(["frozen"] if self.is_frozen else []),
        ]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


ModelSource: TypeAlias = Union[str, os.PathLike[str], onnx.ModelProto, "Document"]
"""What functions take for a model: the path of a file, a model in memory, or what was loaded before."""


def as_document(model: ModelSource, max_tensor: int = MAX_TENSOR, *, freeze: bool = False) -> Document:
    """The document of a model, which is read and checked where it was not before.

    Args:
        model: a path, a model in memory, which is copied and never changed, or a document.
        max_tensor: the most bytes that a tensor may take for one sample.
        freeze: take weights off the model's inputs, by which a caller could replace them.

    Raises:
        ModelError: see `load_document`; or a model in memory is over 2 GiB, or keeps weights in a data file.
    """
    if isinstance(model, Document):
        document = model
    elif isinstance(model, onnx.ModelProto):
        document = _from_memory(model, max_tensor)
    else:
        document = load_document(model, max_tensor)
    return _frozen(document) if freeze and not document.is_frozen else document


def _frozen(document: Document) -> Document:
    """A document whose model lists no weights as inputs; from IR 4 on that makes them constants."""
    stored = {tensor.name for tensor in document.model.graph.initializer}
    stored |= {tensor.values.name for tensor in document.model.graph.sparse_initializer}
    model = onnx.ModelProto()
    model.CopyFrom(document.model)
    given = [value for value in document.model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(given)
    model.ir_version = max(model.ir_version, 4)  # before, every weight has to be listed
    return replace(document, model=model, is_frozen=True)


def _from_memory(model: onnx.ModelProto, max_tensor: int) -> Document:
    apart = next((t for t in external_data_helper._get_all_tensors(model) if is_apart(t)), None)
    if apart is not None:
        raise ModelError(
            f"Tensor {apart.name!r} of the model in memory lies in a data file, and the model has no folder to look "
            "for it; give the model's path instead."
        )
    try:
        content = model.SerializeToString(deterministic=True)
    except (ValueError, EncodeError) as error:
        raise ModelError(
            "The model in memory holds more than 2 GiB; save it with its weights in a data file and give its path."
        ) from error
    return _parse(content, MEMORY, max_tensor)


def load_document(path: str | os.PathLike[str], max_tensor: int = MAX_TENSOR) -> Document:
    """Read and check a model.

    Args:
        path: an `.onnx` file.
        max_tensor: the most bytes that a tensor may take for one sample.

    Returns:
        The document, external data loaded.

    Raises:
        ModelError: the file is missing, is no ONNX model, fails onnx's checker, or names external data that
            is missing or lies outside the model's folder.
    """
    path = Path(path)
    if not os.path.isfile(path):  # which is no error where the name is too long, or a link leads in circles
        if os.path.isdir(path):
            raise ModelError(f"{path} is a folder; name a model file in it.")
        raise ModelError(f"There is no model file {path}; check the path.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror}; check its permissions.") from error
    return _parse(content, path, max_tensor)


def _parse(content: bytes, path: Path, max_tensor: int) -> Document:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(
            f"{path} is not an ONNX model, or is truncated: it does not parse as one. Export or copy it again."
        ) from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise ModelError(f"{path} is not an ONNX model: it holds no graph with nodes. Export it again.")
    if not model.graph.name:  # onnxruntime runs such a graph, but no checker accepts it
        logger.info("The graph of %s has no name; it is called 'graph'.", path)
        model.graph.name = "graph"
    data_files = read_external_data(model, path)
    require_within_limits(model, path, max_tensor)
    _check(model, path)
    require_types(model, path)
    return Document(path, model, hashlib.sha256(content).hexdigest(), data_files)


def _check(model: onnx.ModelProto, path: Path) -> None:
    """Raise ModelError unless onnx's checker accepts the model."""
    try:
        onnx.checker.check_model(str(path) if any(map(is_apart, model.graph.initializer)) else model)
    except onnx.checker.ValidationError as error:
        message = str(error).strip().splitlines()[0].rstrip(".")
        if "No Op registered" in message or "No opset import for domain" in message:
            logger.info("%s uses operators that onnx does not know: %s", path, message)
            return
        try:
            Session(model)
        except ModelError:
            raise ModelError(f"{path} is not a valid ONNX model: {message}. Export it again.") from error
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
    external = external or byte_size(model) > _MAX_INLINE_BYTES
    try:
        light = write_external_data(model, path) if external else model
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(light.SerializeToString(deterministic=True))
        finally:
            remove_stale_data(path)
    except OSError as error:
        raise ModelError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error


def remove_model(path: Path) -> None:
    """Remove a model and its data file, where there are such.

    Raises:
        ModelError: the folder cannot be written to.
    """
    try:
        path.unlink(missing_ok=True)
        remove_stale_data(path)
    except OSError as error:
        raise ModelError(
            f"Cannot remove {path}, of an earlier run: {error.strerror or error}; remove it by hand."
        ) from error
