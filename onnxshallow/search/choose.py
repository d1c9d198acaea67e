"""The stage that chooses: plans are searched, the best are carried out and validated, and one is kept."""

import logging
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from onnxshallow.errors import AccuracyError, TargetError
from onnxshallow.options.config import Config
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.attempt import carry_out, validate
from onnxshallow.search.compete import search
from onnxshallow.search.frontier import expected_frontier
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import most_useful, read_budget
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.solver import Budget
from onnxshallow.validation.compare import Comparison

__all__ = ["Attempt", "Run", "choose", "has_target", "verdict"]

logger = logging.getLogger(__name__)

# How many plans are validated before an accuracy budget is given up.
MAX_VALIDATED = 4
# Shares of the ReLUs that are tried when only an accuracy budget is given.
_SHARES = tuple(share / 20 for share in range(19, 0, -1))


@dataclass(frozen=True, eq=False)
class Attempt:
    """One plan carried out and compared with the original.

    Attributes:
        plan: the plan.
        realized: its model.
        comparison: of the original and that model.
        labels_decide: whether the labels are those of validation data; those of a calibration file never decide.
    """

    plan: Plan
    realized: Realized
    comparison: Comparison
    labels_decide: bool

    @property
    def by_labels(self) -> bool:
        """Whether `drop` speaks of accuracy."""
        return self.labels_decide and self.comparison.first is not None

    def drop(self) -> float:
        """Accuracy lost, or disagreement with the original; without classes the largest relative output error."""
        disagreement = self.comparison.fidelity.disagreement
        if self.by_labels and self.comparison.drop is not None:
            return self.comparison.drop
        if disagreement is not None:
            return disagreement
        return max(self.comparison.fidelity.relative_error.values(), default=0.0)

    def rank(self) -> tuple[bool, float]:
        """What puts attempts in order, the best first: those that may be used, then those that lose less."""
        return self.realized.unstable is not None, self.drop()


@dataclass(frozen=True, eq=False)
class Run:
    """What the steps of one run share.

    Attributes:
        inputs: model, data and options.
        observation: what the original does with the data.
        progress: shows how it goes.
        clock: seconds by stage.
        cache_folder: where damages are kept, or None.
        looked_at: the plans that competed so far.
    """

    inputs: Inputs
    observation: Observation
    progress: Progress
    clock: Clock
    cache_folder: Path | None = None
    looked_at: list[Plan] = field(default_factory=list)

    @cached_property
    def damages(self) -> DamageMeter:
        """What candidates cost, measured when it is asked for."""
        return DamageMeter(self.inputs, self.observation, self.progress, self.cache_folder)

    def frontier(self) -> list[Plan]:
        """What other ReLU counts would cost, to be expected from what was measured; nothing where nothing was."""
        if self.inputs.config.sensitivity == "magnitude":
            return []
        measured, analysis = self.damages.measured, self.inputs.analysis
        budget = read_budget(self.inputs.config, analysis)
        with self.clock("plan"):
            return expected_frontier(analysis, measured.candidates, measured.damages, self.looked_at, budget)

    def attempt(self, plan: Plan) -> Attempt:
        """Carry out a plan and compare the result with the original."""
        with self.clock("fit"):
            realized = carry_out(self.inputs, self.observation, plan, self.progress)
        with self.clock("validate"):
            comparison = validate(self.inputs, realized, self.progress)
        return Attempt(plan, realized, comparison, self.inputs.config.validate_data is not None)


def has_target(config: Config) -> bool:
    """Whether a run has any target besides an accuracy budget."""
    targets = (config.target_relus, config.target_macs, config.target_depth, config.target_latency)
    return any(target is not None for target in targets)


def choose(run: Run, budget: Budget) -> tuple[Attempt, list[str]]:
    """The plan to keep, carried out and validated, and what to say of it.

    Plans compete on the selection samples. Those that come out best are then validated, one after the other, until
    one keeps the accuracy budget.

    Raises:
        TargetError: no plan reaches the budget.
    """
    limit, cost = run.inputs.config.max_drop, run.inputs.analysis.cost
    if limit is not None and not has_target(run.inputs.config):
        return _deepest(run, limit)
    plans = _search(run, budget)
    best: Attempt | None = None
    for tries in range(1, MAX_VALIDATED + 1):
        chosen = (
            most_useful(plans, cost, budget.shallower)
            if tries == 1
            else min(plans, key=lambda plan: plan.damage or 0.0)
        )
        plans = [plan for plan in plans if plan is not chosen]
        attempt = run.attempt(chosen)
        if best is None or attempt.rank() < best.rank():
            best = attempt
        if not plans or (attempt.realized.unstable is None and (limit is None or attempt.drop() <= limit)):
            break
        why = attempt.realized.unstable or f"it loses {100 * attempt.drop():.2f} points"
        logger.info("Plan %d is not taken: %s; trying another.", tries, why)
    if best is None:
        raise TargetError("No plan was carried out; raise the target.")
    return best, []


def _search(run: Run, budget: Budget) -> list[Plan]:
    with run.clock("sensitivity"):
        (measured,) = run.damages.matter_to([budget])
    with run.clock("plan"):
        found = search(run.inputs, run.observation, measured, budget, run.progress)
    run.looked_at.extend(found)
    return found


def _deepest(run: Run, limit: float) -> tuple[Attempt, list[str]]:
    """As few ReLUs as the accuracy budget allows, by bisection over shares of the ReLU count."""
    cost, free = run.inputs.analysis.cost, read_budget(run.inputs.config, run.inputs.analysis)
    best = run.attempt(Plan((), {}))
    low, high = 0, len(_SHARES)
    while low < high:
        middle = (low + high) // 2
        budget = replace(free, relus=int(_SHARES[middle] * cost.relus))
        try:
            attempt = run.attempt(most_useful(_search(run, budget), cost, budget.shallower))
        except TargetError:
            high = middle
            continue
        if attempt.realized.unstable is None and attempt.drop() <= limit:
            best, low = attempt, middle + 1
        else:
            high = middle
    return best, ["the lowest ReLU count that was found within the accuracy budget"]


def verdict(config: Config, inputs: Inputs, attempt: Attempt) -> AccuracyError | None:
    """An error where the accuracy budget is broken."""
    limit, drop = config.max_drop, attempt.drop()
    if attempt.realized.unstable is not None:
        return AccuracyError(
            f"The best plan is refused: {attempt.realized.unstable}. Leave out --polynomials, raise the target, or "
            "give more calibration samples."
        )
    if limit is None or drop <= limit:
        return None
    what = "accuracy" if attempt.by_labels else "agreement with the original"
    if attempt.comparison.drop is None:
        what = "output precision"
    return AccuracyError(
        f"The best plan loses {100 * drop:.2f} points of {what} on {inputs.data.report.source}, more than "
        f"--max-drop {limit:g} allows. Allow more, raise the target, or give more calibration samples."
    )
