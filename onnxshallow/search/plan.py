"""A plan: the chosen candidates as data that can be saved, read, edited by hand and applied again."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from onnxshallow.actions.base import Candidate
from onnxshallow.errors import UsageError
from onnxshallow.model.files import write_text
from onnxshallow.text import first_line

__all__ = ["Plan", "load_plan", "match_plan", "plan_to_json", "save_plan"]

logger = logging.getLogger(__name__)

_VERSION = 1
# The variants that every entry names, as files have done from the first on; other actions' come after them.
_VARIANTS: Mapping[str, Any] = {"kernel": None, "rank": None, "kept": None, "pixels": False}


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
    def digest(self) -> str:
        """A sha256 of what tells this plan from others, whatever was measured of it."""
        entries = [[c.action, list(c.sites), c.source, c.output, c.exactness, c.variant] for c in self.candidates]
        return hashlib.sha256(json.dumps(sorted(entries, key=str), sort_keys=True).encode()).hexdigest()

    @property
    def predicted(self) -> float:
        """The sum of the single damages."""
        return sum(self.damages.get(candidate.key, 0.0) for candidate in self.candidates)

    @property
    def expected(self) -> float:
        """The damage that was measured for all of them together, or else the sum of the single damages."""
        return self.predicted if self.damage is None else self.damage


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


def load_plan(path: Path, available: Sequence[Candidate], model_sha256: str | None = None) -> Plan:
    """Read a plan and find its entries among the candidates of a model.

    An entry is recognised by `action`, `source`, `output`, `exactness` and what tells candidates of one place apart,
    such as `kernel`; what else it says is recomputed.

    Args:
        path: of the plan.
        available: the model's candidates.
        model_sha256: of the model's file; a plan that says it was made for another is warned of.

    Raises:
        UsageError: the file is no plan, or an entry does not fit the model.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = [_Entry.read(entry, number) for number, entry in enumerate(list(content["actions"]))]
    except OSError as error:
        raise UsageError(f"Cannot read the plan {path}: {error.strerror}; check the path.") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UsageError(
            f"{path} is not a plan written by onnxshallow --plan-out ({what}); write one with "
            "`onnxshallow optimize MODEL --plan-out PATH`."
        ) from error
    at_place: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in available:
        at_place.setdefault((candidate.action, candidate.source, candidate.output), []).append(candidate)
    found = [next(filter(entry.means, at_place.get(entry.place, ())), None) for entry in entries]
    asked = [(entry.key, entry.sites, candidate) for entry, candidate in zip(entries, found, strict=True)]
    chosen = _fitting_together(asked, str(path))
    if model_sha256 not in (None, content.get("model_sha256", model_sha256)):
        logger.warning("%s was made for another model file; it fits this one, which is judged by its own data.", path)
    stated = zip(chosen, entries, strict=True)
    return Plan(chosen, {c.key: entry.damage for c, entry in stated if entry.damage is not None})


def match_plan(plan: Plan, available: Sequence[Candidate]) -> Plan:
    """The same plan, made of the candidates of a model.

    Args:
        plan: perhaps of another model.
        available: the candidates of this one.

    Raises:
        UsageError: an entry does not fit the model, or two change the same nodes.
    """
    by_key = {candidate.key: candidate for candidate in available}
    asked = [(wanted.key, wanted.sites, by_key.get(wanted.key)) for wanted in plan.candidates]
    return Plan(_fitting_together(asked, "the plan"), plan.damages)


def _fitting_together(
    asked: Sequence[tuple[str, tuple[str, ...], Candidate | None]], source: str
) -> tuple[Candidate, ...]:
    """The candidates that were found for the entries of a plan.

    Args:
        asked: for each entry its key, the sites that it names, and what was found.
        source: where the plan comes from, for messages.

    Raises:
        UsageError: one was not found or has other sites, or two change the same nodes.
    """
    chosen: list[Candidate] = []
    for number, (key, sites, found) in enumerate(asked):
        if found is None:
            raise UsageError(
                f"Entry {number} of {source} ({key}) is not possible on this model; "
                "`onnxshallow sensitivity MODEL` lists what is."
            )
        if sites and set(sites) != set(found.sites):
            raise UsageError(
                f"Entry {number} of {source} names the sites {', '.join(sites)}, but its source and output "
                f"enclose {', '.join(found.sites) or 'none'}; change both, or leave sites out."
            )
        for other in chosen:
            if other.excludes(found):
                raise UsageError(f"Entries {other.key} and {found.key} of {source} change the same nodes; keep one.")
        chosen.append(found)
    return tuple(chosen)


@dataclass(frozen=True)
class _Entry:
    """What an entry of a plan asks for.

    Attributes:
        place: action, source and output.
        sites: their names, where it says them.
        variant: what it says of `_VARIANTS`.
        exactness: as the entry has it.
        damage: that of the candidate alone.
        everything: the entry, of which other actions' variants are read.
    """

    place: tuple[str, str, str]
    sites: tuple[str, ...]
    variant: Mapping[str, Any]
    exactness: Any
    damage: float | None
    everything: Mapping[str, Any]

    @classmethod
    def read(cls, entry: Any, number: int) -> "_Entry":
        """The entry of that number.

        Raises:
            ValueError: a part of the place is missing, or something is of another type, as for the following.
            TypeError: see above.
            OverflowError: see above.
        """
        for name in ("action", "source", "output"):
            if not isinstance(entry, Mapping) or name not in entry:
                raise ValueError(f"entry {number} has no {name!r}")
        kernel, rank, kept = (entry.get(name) for name in ("kernel", "rank", "kept"))
        if kept is not None and (isinstance(kept, bool) or not isinstance(kept, int)):
            raise ValueError(f"entry {number} has {kept!r} for 'kept', which is no whole number")
        variant = {
            "kernel": None if kernel is None else [int(size) for size in kernel],
            "rank": None if rank is None else int(rank),
            "kept": kept,
            "pixels": kept is not None and entry.get("pixels") is True,
        }
        return cls(
            (str(entry["action"]), str(entry["source"]), str(entry["output"])),
            tuple(map(str, entry.get("sites", ()))),
            variant,
            entry.get("exactness", "fitted"),
            None if entry.get("damage") is None else float(entry["damage"]),
            entry,
        )

    def means(self, candidate: Candidate) -> bool:
        """Whether it asks for this one of the candidates of its place; a value that it leaves out is the default."""
        defaults = {each.name: list(d) if isinstance(d := each.default, tuple) else d for each in fields(candidate)}
        own = {name: self.everything.get(name, defaults[name]) for name in candidate.variant if name not in _VARIANTS}
        return {**self.variant, **own} == {**_VARIANTS, **candidate.variant} and self.exactness == candidate.exactness

    @property
    def key(self) -> str:
        """What names it in messages."""
        action, source, output = self.place
        kernel, rank, kept = (self.variant[name] for name in ("kernel", "rank", "kept"))
        label = "" if kernel is None else f":{'x'.join(map(str, kernel))}"
        label += "" if rank is None else f":rank{rank}"
        label += "" if kept is None else f":kept{kept}{'pixels' * self.variant['pixels']}"
        label += "" if self.exactness == "fitted" else f":{self.exactness}"
        return f"{action}{label}:{source}->{output}"
