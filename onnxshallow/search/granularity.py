"""Whole layers, and channel masks where these miss what was asked for: `--granularity auto`.

A site goes as a whole or stays, so that on networks of few sites the plan for 0.8 of the ReLUs may keep 0.3 of them,
and does the damage of that. Masks hit any count, but save no layers, take longer in onnxruntime than a whole ReLU,
and take twice the time to search. So they are looked at only where whole layers miss the count by more than a tenth
and do damage, or do not reach it (docs/decisions/masks-fill-gaps.md).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxshallow.analysis import Cost
from onnxshallow.errors import TargetError
from onnxshallow.search.candidates import require_reachable
from onnxshallow.search.faster import faster_of, kept_in_time
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import MEASURED_TOLERANCE, about_equal
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget

__all__ = ["Ranked", "fine_enough", "finer", "misses", "ranked"]

logger = logging.getLogger(__name__)

# The least part of the ReLUs that were allowed that a plan is to keep.
_LEAST_KEPT = 0.9

Tries = Callable[[Inputs, int], int]
"""How many plans to carry out for so many budgets."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """What came of the search for one budget.

    Attributes:
        run: that the plans were found in.
        plans: that reach the budget, the one to keep first, then those that do less damage.
    """

    run: Run
    plans: Sequence[Plan]


def fine_enough(inputs: Inputs) -> Inputs:
    """`inputs`, with channel masks where only these reach the targets and `auto` allows them.

    Raises:
        TargetError: no plan reaches them; says what can be reached.
    """
    try:
        require_reachable(inputs, inputs.budget)
    except TargetError:
        if not _may_be_finer(inputs):
            raise
        inputs = inputs.at_granularity("channel")
        require_reachable(inputs, inputs.budget)
    return inputs


def misses(plan: Plan, cost: Cost, budget: Budget) -> bool:
    """Whether a plan keeps by more than a tenth fewer ReLUs than allowed, and does damage.

    Args:
        plan: of whole layers.
        cost: of the original.
        budget: what was asked for.
    """
    damage = plan.predicted if plan.damage is None else plan.damage
    kept = cost.relus - sum(c.relus for c in plan.candidates)
    return budget.relus is not None and kept < _LEAST_KEPT * budget.relus and damage > budget.harmless


def finer(run: Run) -> Run | None:
    """A run with channel masks over the same data; None where `auto` was not asked for, or masks are no choice."""
    if not _may_be_finer(run.inputs):
        return None
    return Run.begin(run.inputs.at_granularity("channel"), run.progress, run.clock, run.cache_folder)


def _may_be_finer(inputs: Inputs) -> bool:
    """Whether masks are a choice: not where damages are read off the weights, nor where kernels are to be exact."""
    config = inputs.config
    return config.granularity == "auto" and config.kernel != "exact" and config.sensitivity != "magnitude"


def ranked(run: Run, budgets: Sequence[Budget], tries: Tries) -> list[Ranked | TargetError]:
    """What the search finds for each budget, with channel masks for those that whole layers miss.

    Args:
        run: what the search needs.
        budgets: what has to be reached.
        tries: how many plans to carry out.
    """
    found = [_rank(run, budget, plans) for budget, plans in _searched(run, budgets, tries, ())]
    config, cost = run.inputs.config, run.inputs.analysis.cost
    missed = [
        number
        for number, (budget, result) in enumerate(zip(budgets, found, strict=True))
        if isinstance(result, TargetError) or misses(result.plans[0], cost, budget)
    ]
    if config.target_relus is None or not missed or (refined := finer(run)) is None:
        return found
    logger.info("Whole layers miss %d of %d targets; looking at channel masks.", len(missed), len(budgets))
    whole = [result.plans[0] for n in missed if isinstance(result := found[n], Ranked)]
    asked = [replace(budgets[number], shallower=False) for number in missed]
    for number, (budget, plans) in zip(missed, _searched(refined, asked, tries, whole), strict=True):
        without, with_masks = found[number], _rank(refined, budget, plans)
        if isinstance(without, TargetError) or _is_better(with_masks, without.plans[0]):
            found[number] = with_masks
    return found


def _is_better(found: Ranked | TargetError, whole: Plan) -> bool:
    """Whether masks do clearly less damage than a plan without them, measured on the same samples."""
    if isinstance(found, TargetError):
        return False
    damages = {plan.keys: plan.damage or 0.0 for plan in found.plans}
    return damages[found.plans[0].keys] * (1 + MEASURED_TOLERANCE) < damages.get(whole.keys, float("inf"))


def _searched(
    run: Run, budgets: Sequence[Budget], tries: Tries, beside: Sequence[Plan]
) -> list[tuple[Budget, list[Plan] | TargetError]]:
    return list(zip(budgets, run.search(budgets, tries(run.inputs, len(budgets)), beside), strict=True))


def _rank(run: Run, budget: Budget, plans: list[Plan] | TargetError) -> Ranked | TargetError:
    if isinstance(plans, TargetError):
        return plans
    inputs, cost = run.inputs, run.inputs.analysis.cost
    plans = kept_in_time(inputs, run.observation, plans)
    best = faster_of(inputs, run.observation, about_equal(plans, cost, budget))
    others = sorted((plan for plan in plans if plan is not best), key=lambda plan: plan.damage or 0.0)
    return Ranked(run, [best, *others])
