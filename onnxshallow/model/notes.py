"""Notes that this tool leaves in the metadata of models that it writes; other metadata stay as they are."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["arrays_of", "notes_of", "with_arrays", "with_notes"]

_PREFIX = "onnxshallow."


def notes_of(model: onnx.ModelProto) -> dict[str, str]:
    """The notes by name, without what all their keys begin with."""
    entries = model.metadata_props
    return {e.key.removeprefix(_PREFIX): e.value for e in entries if e.key.startswith(_PREFIX)}


def with_notes(model: onnx.ModelProto, notes: Mapping[str, str | None]) -> onnx.ModelProto:
    """A copy of the model with these notes in the place of those of the same names; None takes a note away.

    The model itself is returned where nothing changes.
    """
    before = notes_of(model)
    if all(before.get(name) == value for name, value in notes.items()):
        return model
    noted = onnx.ModelProto()
    noted.CopyFrom(model)
    replaced = {_PREFIX + name for name in notes}
    for index in reversed(range(len(noted.metadata_props))):
        if noted.metadata_props[index].key in replaced:
            del noted.metadata_props[index]
    for name, value in notes.items():
        if value is not None:
            noted.metadata_props.add(key=_PREFIX + name, value=value)
    return noted


def arrays_of(model: onnx.ModelProto, name: str) -> dict[str, NDArray[Any]]:
    """By tensor the numbers that a note holds; a note that cannot be read counts as none."""
    try:
        stated = json.loads(notes_of(model).get(name, "{}"))
        return {str(tensor): np.array(values) for tensor, values in stated.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def with_arrays(model: onnx.ModelProto, name: str, values: Mapping[str, list[Any]]) -> onnx.ModelProto:
    """The model with a note of these numbers by tensor in the place of the one that it has, if any."""
    return with_notes(model, {name: json.dumps(dict(values), separators=(",", ":")) if values else None})
