"""A plan: the chosen candidates as data that can be saved, read, edited by hand and applied again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from onnxshallow.actions.base import Candidate
from onnxshallow.actions.registry import actions
from onnxshallow.errors import UsageError
from onnxshallow.model.files import write_text
from onnxshallow.text import first_line

__all__ = ["Plan", "load_plan", "match_plan", "plan_to_json", "save_plan"]

_VERSION = 1
# The variants that every entry names, as files have done from the first on; other actions' come after them.
_VARIANTS: Mapping[str, Any] = {"kernel": None, "rank": None, "kept": None, "pixels": False}
# What an entry is recognised by, beside the variant of its action's candidates.
_PLACE = ("action", "sites", "source", "output", "exactness")


@dataclass(frozen=True)
class Plan:
    """What is to be done to a model.

    Attributes:
        candidates: the chosen candidates.
        damages: the damage that was measured for each alone, by key.
        damage: the damage measured for all of them together on held-out calibration samples, where it was.
    """

    candidates: tuple[Candidate, ...]
    damages: Mapping[str, float]
    damage: float | None = None

    @property
    def keys(self) -> frozenset[str]:
        """What tells this plan from others: the keys of its candidates."""
        return frozenset(candidate.key for candidate in self.candidates)

    @property
    def predicted(self) -> float:
        """The sum of the single damages."""
        return sum(self.damages.get(candidate.key, 0.0) for candidate in self.candidates)


def plan_to_json(plan: Plan, model_sha256: str) -> dict[str, Any]:
    """The plan as JSON values."""
    return {
        "schema_version": _VERSION,
        "model_sha256": model_sha256,
        "damage": plan.damage,
        "actions": [
            {
                "action": candidate.action,
                "sites": list(candidate.sites),
                "source": candidate.source,
                "output": candidate.output,
                **_VARIANTS,
                **candidate.variant,
                "exactness": candidate.exactness,
                "relus_saved": candidate.relus,
                "macs_saved": candidate.macs,
                "squares_added": candidate.squares,
                "damage": plan.damages.get(candidate.key),
            }
            for candidate in plan.candidates
        ],
    }


def save_plan(plan: Plan, model_sha256: str, path: Path) -> None:
    """Write a plan as JSON.

    Raises:
        ModelError: the folder cannot be written to.
    """
    write_text(json.dumps(plan_to_json(plan, model_sha256), indent=2) + "\n", path)


def load_plan(path: Path, available: Sequence[Candidate]) -> Plan:
    """Read a plan and find its entries among the candidates of a model.

    An entry is recognised by `action`, `source`, `output`, `exactness` and what tells candidates of one place apart,
    such as `kernel`; what else it says is recomputed.

    Raises:
        UsageError: the file is no plan, or an entry does not fit the model.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = list(content["actions"])
        wanted = tuple(_read(entry, number) for number, entry in enumerate(entries))
        stated = [None if entry.get("damage") is None else float(entry["damage"]) for entry in entries]
    except OSError as error:
        raise UsageError(f"Cannot read the plan {path}: {error.strerror}; check the path.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UsageError(
            f"{path} is not a plan written by onnxshallow --plan-out ({what}); write one with "
            "`onnxshallow optimize MODEL --plan-out PATH`."
        ) from error
    pairs = zip(wanted, stated, strict=True)
    damages = {candidate.key: value for candidate, value in pairs if value is not None}
    return match_plan(Plan(wanted, damages), available, str(path))


def match_plan(plan: Plan, available: Sequence[Candidate], source: str = "the plan") -> Plan:
    """The same plan, made of the candidates of a model.

    Args:
        plan: perhaps of another model.
        available: the candidates of this one.
        source: where the plan comes from, for messages.

    Raises:
        UsageError: an entry does not fit the model, or two change the same nodes.
    """
    by_key = {candidate.key: candidate for candidate in available}
    chosen: list[Candidate] = []
    for number, wanted in enumerate(plan.candidates):
        found = by_key.get(wanted.key)
        if found is None:
            raise UsageError(
                f"Entry {number} of {source} ({wanted.key}) is not possible on this model; "
                "`onnxshallow sensitivity MODEL` lists what is."
            )
        if wanted.sites and set(wanted.sites) != set(found.sites):
            raise UsageError(
                f"Entry {number} of {source} names the sites {', '.join(wanted.sites)}, but its source and output "
                f"enclose {', '.join(found.sites) or 'none'}; change both, or leave sites out."
            )
        for other in chosen:
            if other.nodes & found.nodes:
                raise UsageError(f"Entries {other.key} and {found.key} of {source} change the same nodes; keep one.")
        chosen.append(found)
    return Plan(tuple(chosen), plan.damages)


def _read(entry: Mapping[str, Any], number: int) -> Candidate:
    """The candidate that an entry asks for, as far as it says.

    Raises:
        ValueError: a part of the place is missing, something is of another type, or means nothing to the action.
    """
    made = next((action.candidate_class for action in actions() if action.name == entry.get("action")), Candidate)
    own = {each.name: each.default for each in fields(made)[len(fields(Candidate)) :]}
    given = {name: entry[name] for name in (*_PLACE, *own) if entry.get(name) is not None}
    if any(default is MISSING and name not in given for name, default in own.items()):
        made = Candidate  # which has a key that no candidate of the action has
    for name, unused in _VARIANTS.items():
        if name not in own and entry.get(name, unused) not in (None, unused):
            raise ValueError(f"entry {number} has {entry[name]!r} for {name!r}, which means nothing to its action")
    try:
        candidate: Candidate = TypeAdapter(made).validate_json(json.dumps({"sites": [], **given}), strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        what = f"{given[name]!r} for {name!r}: {wrong['msg']}" if name in given else f"no {name!r}"
        raise ValueError(f"entry {number} has {what}") from error
    return candidate
