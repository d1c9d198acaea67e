"""The stage that measures: what each candidate would cost, as far as a budget asks for it."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis
from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Progress
from onnxshallow.runtime.waypoints import Waypoints
from onnxshallow.search.candidates import possible_candidates
from onnxshallow.search.estimates import estimated_damages, first_look
from onnxshallow.search.identity import identity
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.cache import SweepCache
from onnxshallow.search.sensitivity.magnitude import magnitude_damages
from onnxshallow.search.sensitivity.sweep import LOOKAHEAD, SweepOptions, sweep
from onnxshallow.search.solver import Budget
from onnxshallow.search.timetable import Timetable, with_times

__all__ = ["DamageMeter", "MeasuredDamages"]

# How often the sweep goes down the network for candidates that turn out to matter.
_MOST_LOOKS = 8
# How many splits of a layer tell what the others do, which differ from these by how close they come to the weights.
_SPLITS_TELL = 2


@dataclass(frozen=True, eq=False)
class MeasuredDamages:
    """What each candidate would cost.

    Attributes:
        candidates: all that is possible.
        refusals: for sites with no candidate, the reason.
        damages: damage by candidate key.
    """

    candidates: tuple[Candidate, ...]
    refusals: Mapping[str, str]
    damages: Mapping[str, float]


class DamageMeter:
    """The damage of each candidate after its fit, on held-out samples; measured when it is first asked for.

    Args:
        inputs: model and data.
        observation: what the original does with them.
        progress: shows how it goes.
        cache_folder: where damages are kept from run to run, or None.

    Attributes:
        table: what layers take on this machine, where latency is limited; else None.
    """

    def __init__(
        self, inputs: Inputs, observation: Observation, progress: Progress, cache_folder: Path | None
    ) -> None:
        self._inputs, self._observation, self._progress = inputs, observation, progress
        self.table = _table(inputs, cache_folder)
        self._candidates, self._refusals = possible_candidates(inputs, observation.statistics)
        if self.table is not None:
            form = inputs.config.form
            self._candidates = with_times(inputs.analysis, self._candidates, observation.statistics, self.table, form)
        self._cache = SweepCache(identity(inputs, inputs.swept), cache_folder)
        swept = inputs.swept
        self._waypoints = Waypoints(inputs.analysis.network, swept.batches, swept.store, swept.threads)
        self._known: dict[str, float] = {}
        self._asked: set[str] = set()

    @property
    def measured(self) -> MeasuredDamages:
        """What was measured so far."""
        return self._with(dict(self._known))

    def measure_all(self) -> MeasuredDamages:
        """What every candidate costs.

        Raises:
            ModelError: onnxruntime fails on the model.
        """
        return self._with(self._damages_of(self._candidates))

    def measure_for(self, budgets: Sequence[Budget]) -> list[MeasuredDamages]:
        """For each budget, what the candidates cost that matter to it (`onnxshallow.search.estimates`).

        What is measured for one budget does not depend on the others, so that it is the same in a run of its own.
        Damages that are read off the weights cost nothing, and all candidates matter.

        Raises:
            ModelError: onnxruntime fails on the model.
        """
        if self._inputs.config.sensitivity == "magnitude":
            return [self.measure_all() for _ in budgets]
        wanted = [{c.key for c in first_look(self._candidates)} for _ in budgets]
        seen: list[dict[str, float]] = []
        open_questions = set(range(len(budgets)))
        for _ in range(_MOST_LOOKS):
            damages = self._damages_of([c for c in self._candidates if any(c.key in keys for keys in wanted)])
            seen = [{key: damages[key] for key in keys if key in damages} for keys in wanted]
            for number in sorted(open_questions):
                more = _undecided(
                    self._inputs.analysis, self._candidates, wanted[number], seen[number], budgets[number]
                )
                if more <= wanted[number]:
                    open_questions.remove(number)
                wanted[number] |= more
            if not open_questions:
                break
        return [self._with(self._completed(found)) for found in seen]

    def _completed(self, damages: Mapping[str, float]) -> dict[str, float]:
        """The damages with those that are told well enough by others."""
        told = _told(self._candidates, damages)
        return estimated_damages([c for c in self._candidates if c.key in damages or c.key in told], damages)

    def _with(self, damages: Mapping[str, float]) -> MeasuredDamages:
        return MeasuredDamages(self._candidates, self._refusals, damages)

    def _damages_of(self, candidates: Sequence[Candidate]) -> dict[str, float]:
        """Damage by key; candidates that do not apply after all have none."""
        inputs, config = self._inputs, self._inputs.config
        todo = [c for c in candidates if c.key not in self._asked]
        self._asked |= {c.key for c in todo}
        if config.sensitivity == "magnitude":
            self._known |= magnitude_damages(inputs.analysis, todo)
        elif todo:
            settings = SweepOptions(config.sensitivity, LOOKAHEAD if config.correction else 0, inputs.kinds)
            observed = self._observation
            with self._progress.stage("Measuring sensitivity", len(todo)) as step:
                self._known |= sweep(
                    inputs.analysis,
                    todo,
                    observed.statistics,
                    inputs.swept,
                    observed.reference(inputs.swept),
                    self._cache,
                    settings,
                    step,
                    self._waypoints,
                )
        return {c.key: self._known[c.key] for c in candidates if c.key in self._known}


def _table(inputs: Inputs, cache_folder: Path | None) -> Timetable | None:
    """What layers take on this machine, where `--target-latency` asks for it."""
    if inputs.config.target_latency is None:
        return None
    threads = inputs.calibration.threads
    return Timetable(threads, SweepCache(Timetable.identity(threads), cache_folder, "latency"))


def _undecided(
    analysis: Analysis, candidates: Sequence[Candidate], asked: Set[str], damages: Mapping[str, float], budget: Budget
) -> set[str]:
    """What the best plans would contain if unmeasured candidates did as little damage as they may."""
    usable = [c for c in candidates if c.key in damages or c.key not in asked]
    planner = Planner(analysis, usable, estimated_damages(usable, damages), budget)
    told = _told(usable, damages)
    try:
        return {c.key for plan in itertools.islice(planner.proposals(), 2) for c in plan.candidates} - told
    except TargetError:
        return set()


def _told(candidates: Sequence[Candidate], damages: Mapping[str, float]) -> set[str]:
    """The splits of layers of which so many were measured that an estimate will do for the others."""
    splits = [c for c in candidates if c.kind == "split"]
    known = Counter(c.place for c in splits if c.key in damages)
    return {c.key for c in splits if known[c.place] >= _SPLITS_TELL and c.key not in damages}
