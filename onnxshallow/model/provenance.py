"""Of what a model was made, and how, as notes in its metadata.

They hold no time and no path, so that the same inputs give the same bytes wherever and whenever they are worked on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from onnxshallow.model.notes import notes_of, with_notes

__all__ = ["Provenance", "note_bytes", "provenance_of", "with_provenance"]


@dataclass(frozen=True)
class Provenance:
    """How a model came to be.

    Attributes:
        version: of onnxshallow.
        input_sha256: of the original's file, without its data files.
        plan_sha256: what tells the plan that was carried out from others.
        nodes: what became of the original's nodes, by their names, in words; nodes that are not named stayed.
        training: for how long weights learned from the original; None where they did not.
    """

    version: str
    input_sha256: str
    plan_sha256: str
    nodes: Mapping[str, str] = field(default_factory=dict)
    training: str | None = None


def note_bytes(nodes: Mapping[str, str]) -> int:
    """The most bytes that notes take which say this of the original's nodes."""
    most = Provenance("0" * 16, "0" * 64, "0" * 64, nodes, "0" * 32)
    return int(with_provenance(onnx.ModelProto(), most).ByteSize())


def provenance_of(model: onnx.ModelProto) -> Provenance | None:
    """What a model's metadata say; None where they say nothing, or nothing that can be read."""
    notes = notes_of(model)
    try:
        nodes = json.loads(notes["nodes"])
        return Provenance(
            version=notes["version"],
            input_sha256=notes["input_sha256"],
            plan_sha256=notes["plan_sha256"],
            nodes={str(name): str(what) for name, what in nodes.items()},
            training=notes.get("training"),
        )
    except (KeyError, ValueError, AttributeError, RecursionError):
        return None


def with_provenance(model: onnx.ModelProto, provenance: Provenance | None) -> onnx.ModelProto:
    """A copy of the model that says this of itself, in the place of what it said; None for nothing at all."""
    names: dict[str, str | None] = dict.fromkeys(("version", "input_sha256", "plan_sha256", "nodes", "training"))
    if provenance is not None:
        names |= {name: getattr(provenance, name) for name in names}
        names["nodes"] = json.dumps(dict(provenance.nodes), ensure_ascii=False, separators=(",", ":"))
    return with_notes(model, names)
