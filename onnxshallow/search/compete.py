"""The stage that searches: plans are carried out in a cheap way, and the one to keep is chosen by what they do.

All that are proposed are looked at roughly, fitted on few samples, which the planner learns from. Those that come out
best are then compared closely, on more samples (docs/decisions/plans-compete.md).
"""

import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from onnxshallow.analysis import NotLinearError
from onnxshallow.errors import TargetError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.gathering import KnownRows
from onnxshallow.rewriting.realize import previewed
from onnxshallow.rewriting.stability import why_unstable
from onnxshallow.runtime.progress import Progress, Silent, Step
from onnxshallow.runtime.waypoints import Waypoints
from onnxshallow.search.attempt import realize_with
from onnxshallow.search.identity import identity_of_plans
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner, about_equal
from onnxshallow.search.sensitivity.cache import SweepCache
from onnxshallow.search.sensitivity.measures import Measure, damage
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from onnxshallow.search.solver import Budget
from onnxshallow.search.tries import fewest_closely
from onnxshallow.search.workers import run_all, worker_count

__all__ = ["LookedAt", "search"]

logger = logging.getLogger(__name__)

# What a plan that is refused counts as, in what its parts do alone: enough to look elsewhere.
_REFUSED = 10.0
# Of the plans that were looked at one in so many is compared closely, where that is more than the fewest.
_ONE_IN = 4
# Those that do so much more damage than the least in a rough look are not worth a closer one.
_HOPELESS = 1.25


def search(
    inputs: Inputs,
    observation: Observation,
    measured: Sequence[MeasuredDamages],
    budgets: Sequence[Budget],
    progress: Progress,
    tries: int,
    beside: Sequence[Plan] = (),
    looked: "LookedAt | None" = None,
) -> list[list[Plan] | TargetError]:
    """Carry out proposed plans in a cheap way and measure what they do to the selection samples.

    The budgets take turns. All of them learn from every plan that is carried out, and may take it. The search ends
    early where for every budget a plan does no damage at all.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        measured: damages of single candidates, for each budget.
        budgets: what has to be reached.
        progress: shows how it goes.
        tries: how many plans to look at. A single one has nothing to be compared with, and is taken as it is.
        beside: plans to compare with these, found elsewhere.
        looked: what plans did that were looked at before; None where it is not kept.

    Returns:
        For each budget the best plans that reach it with their measured damages, the least in a rough look first;
        where all of these were refused, they; an error, which says what can be reached, where there is no such plan.
    """
    planners = [
        Planner(inputs.analysis, found.candidates, found.damages, budget)
        for found, budget in zip(measured, budgets, strict=True)
    ]
    proposals = [planner.proposals() for planner in planners]
    failures, settled = dict[int, TargetError](), set[int]()
    looked = looked or LookedAt.of(inputs)
    roughly = _Look(_Bench(inputs, observation, inputs.rough), looked.roughly, planners)
    closely = _Look(_Bench(inputs, observation, inputs.reduced), looked.closely)
    for other in beside:
        if (looked_at := roughly.at(other)) is not None:
            for planner in planners:
                planner.learn(other, looked_at.damage or 0.0)
    with progress.stage("Comparing plans", tries) as step:
        for number in itertools.islice(itertools.cycle(range(len(budgets))), tries):
            plan = None
            try:
                plan = next(proposals[number], None)
            except TargetError as error:
                failures[number] = error
            if plan is None:
                settled.add(number)
            elif tries == 1:
                return [[plan]]
            elif not roughly.knows(plan):
                attempted = roughly.at(plan, roughly.likely(number))
                done = _REFUSED * plan.predicted if attempted is None else attempted.damage or 0.0
                for planner in planners:
                    planner.learn(plan, done)
                if not plan.candidates or (attempted is not None and _is_harmless(attempted, inputs)):
                    settled.add(number)
            step()
            if len(settled) == len(budgets):
                break
    found: list[list[Plan] | TargetError] = []
    choices = [_Choice.of(planner, roughly, beside, fewest_closely(tries)) for planner in planners]
    with progress.stage("Comparing the best", sum(choice.wanted for choice in choices)) as step:
        for number, (planner, choice) in enumerate(zip(planners, choices, strict=True)):
            usable = choice.compared(closely, step)
            others = [plan for look in (roughly, closely) for plan in look.refused.values() if planner.reaches(plan)]
            each = max(2, tries // len(budgets))
            usable = usable or _with_fewer_squares(
                inputs, observation, measured[number], planner.budget, others, progress, each, looked
            )
            found.append(failures.get(number) or usable or others)
    return found


@dataclass(frozen=True, eq=False)
class LookedAt:
    """What plans did when they were looked at, by their digests; not a number where they are refused.

    Kept on disk, so that a run after an interruption goes on with the next plan.

    Attributes:
        roughly: the damages in a rough look.
        closely: those in a closer one.
    """

    roughly: SweepCache
    closely: SweepCache

    @classmethod
    def of(cls, inputs: Inputs, folder: Path | None = None) -> "LookedAt":
        """What is known of a model and its data from earlier runs, in `folder`; nothing without one."""
        of = (SweepCache(identity_of_plans(inputs, each), folder, "plans") for each in (inputs.rough, inputs.reduced))
        return cls(*of)


@dataclass(frozen=True, eq=False)
class _Bench:
    """Where plans are carried out in a cheap way. What is known of the original is kept from plan to plan.

    Attributes:
        inputs: model, data and options.
        observation: what the original does with the data.
        calibration: the samples to fit and to measure on.
    """

    inputs: Inputs
    observation: Observation
    calibration: Calibration

    @cached_property
    def waypoints(self) -> Waypoints:
        """Of the original on these samples."""
        calibration = self.calibration
        network = self.inputs.analysis.network
        return Waypoints(network, calibration.batches, calibration.store, calibration.threads)

    @cached_property
    def rows(self) -> KnownRows:
        """What is known of the original from other plans on the same samples."""
        return KnownRows(self.calibration.store)

    def __getstate__(self) -> dict[str, object]:
        """What a worker is sent, who finds the rest out anew."""
        return {name: getattr(self, name) for name in ("inputs", "observation", "calibration")}


class _Look:
    """Carries plans out, each once, and measures what they do; several workers do so with those that may come next.

    Such a plan may have been carried out for nothing. So the plans that are asked for are the same with any number of
    workers, and so is what comes of them.

    Args:
        bench: where they are carried out.
        known: what plans do that were carried out before; what others do is added.
        planners: that propose the plans.

    Attributes:
        tried: plans that were asked for with their measured damages, by their keys.
        refused: those that cannot be carried out or are not stable.
    """

    def __init__(self, bench: _Bench, known: SweepCache, planners: Sequence[Planner] = ()) -> None:
        self._bench, self._known, self._planners = bench, known, planners
        self.tried: dict[frozenset[str], Plan] = {}
        self.refused: dict[frozenset[str], Plan] = {}

    def knows(self, plan: Plan) -> bool:
        """Whether a plan was asked for before."""
        return plan.keys in self.tried or plan.keys in self.refused

    def at(self, plan: Plan, then: Iterable[Plan] = ()) -> Plan | None:
        """The plan with its damage; None where it is refused.

        Args:
            plan: to carry out.
            then: what may be asked for next.
        """
        if plan.digest not in self._known:
            free = worker_count() - 1
            new = (each for each in then if each.digest not in self._known and each.keys != plan.keys) if free else ()
            plans = [plan, *itertools.islice(new, free)]
            for each, value in zip(plans, run_all(_try_out, self._bench, plans), strict=True):
                self._known[each.digest] = value
        if math.isnan(value := self._known[plan.digest]):
            self.refused[plan.keys] = plan
            return None
        return self.tried.setdefault(plan.keys, replace(plan, damage=value))

    def likely(self, asking: int) -> Iterator[Plan]:
        """The plans that come next if nothing new is learned.

        Args:
            asking: which planner has the turn; that of the next has the next one.
        """
        count = worker_count() - 1
        turns = [*self._planners[asking + 1 :], *self._planners[: asking + 1]]
        each = -(-count // len(turns))
        ahead = [planner.ahead(each) for planner in turns[:count]]
        for plans in itertools.zip_longest(*ahead):
            yield from (plan for plan in plans if plan is not None)


@dataclass(frozen=True)
class _Choice:
    """The plans that reach a budget, in the order in which they are to be compared closely.

    Those found elsewhere come first, then those that would be taken by the rough look, then those that came out best
    in it. Where plans are refused, others have their turn.

    Attributes:
        ordered: the plans.
        wanted: how many to compare.
        fewest: how many where those that are left did much more damage than the best.
        hopeless: that damage.
    """

    ordered: tuple[Plan, ...] = ()
    wanted: int = 0
    fewest: int = 0
    hopeless: float = 0.0

    @classmethod
    def of(cls, planner: Planner, roughly: _Look, beside: Sequence[Plan], fewest: int) -> "_Choice":
        usable = [plan for plan in roughly.tried.values() if planner.reaches(plan)]
        if not usable:
            return cls()
        elsewhere = {plan.keys for plan in beside}
        first = [plan for plan in usable if plan.keys in elsewhere]
        likely = about_equal(usable, planner.analysis.cost, planner.budget)[:fewest]
        by_damage = sorted(usable, key=lambda plan: plan.damage or 0.0)
        ordered = {plan.keys: plan for plan in (*first, *likely, *by_damage)}
        fewest += len(first)
        wanted = max(fewest, len(first) - (-len(usable) // _ONE_IN))
        return cls(
            tuple(ordered.values()), min(wanted, len(usable)), fewest, _HOPELESS * (by_damage[0].damage or 0.0)
        )

    def compared(self, closely: _Look, step: Step) -> list[Plan]:
        """The plans that a closer look does not refuse, with their damages."""
        found: list[Plan] = []
        for place, plan in enumerate(self.ordered):
            enough = self.fewest if (plan.damage or 0.0) > self.hopeless else self.wanted
            if len(found) < enough:
                measured = closely.at(plan, self.ordered[place + 1 : place + enough - len(found)])
                found += [] if measured is None else [measured]
                step()
        return found


def _with_fewer_squares(
    inputs: Inputs,
    observation: Observation,
    measured: MeasuredDamages,
    budget: Budget,
    refused: Sequence[Plan],
    progress: Progress,
    tries: int,
    looked: LookedAt,
) -> list[Plan]:
    """What `search` finds with at most half of the squares of all that was refused, and then without any.

    Returns:
        No plans where these do not reach the budget, or there are no squares to do without.
    """
    least = min((sum(c.squares for c in plan.candidates) for plan in refused), default=0)
    if not least:
        return []
    fewer = replace(budget, squares=least // 2 if budget.squares is None else 0)
    (found,) = search(inputs, observation, [measured], [fewer], progress, tries, looked=looked)
    return [] if isinstance(found, TargetError) else found


def _is_harmless(plan: Plan, inputs: Inputs) -> bool:
    """Whether a plan moves no output, so that no further one can do less.

    Disagreement does not tell: outputs may move where classes stay.
    """
    return plan.damage == 0 and inputs.config.sensitivity != "disagreement"


def _try_out(bench: _Bench, plan: Plan) -> float:
    """The damage of a plan on the selection samples, applied in a cheap way; not a number where it is refused."""
    inputs, observation, calibration = bench.inputs, bench.observation, bench.calibration
    try:
        outputs = previewed(
            inputs.analysis,
            plan.candidates,
            observation.statistics,
            calibration,
            bench.waypoints,
            bench.rows,
            correction=inputs.config.correction,
        )
        if outputs is None:
            realized = realize_with(calibration, inputs, observation, plan, Silent(), bench.rows)
            outputs = realized.outputs
            squares = realized.analysis.cost.squares > inputs.analysis.cost.squares
            if squares and (
                why := why_unstable(inputs.analysis, observation.statistics, realized.network, calibration)
            ):
                logger.info("A plan is refused: %s.", why)
                return math.nan
    except NotLinearError as error:
        logger.warning("A plan is left out: %s", error)
        return math.nan
    measure: Measure = "kl" if inputs.config.sensitivity == "magnitude" else inputs.config.sensitivity
    return damage(measure, observation.reference(calibration), outputs, inputs.kinds)
