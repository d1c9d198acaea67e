"""Whole layers, and channel masks where these miss what was asked for: `--granularity auto`.

A site goes as a whole or stays, so that on networks of few sites the plan for 0.8 of the ReLUs may keep 0.3 of them,
and does the damage of that. Masks hit any count, but save no layers, take longer in onnxruntime than a whole ReLU,
and take twice the time to search. So they are looked at only where whole layers miss the count by more than a tenth
and do damage, or do not reach it, or where squares are allowed and whole layers do much damage
(docs/decisions/masks-fill-gaps.md).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxshallow.analysis import Cost
from onnxshallow.errors import TargetError
from onnxshallow.options.config import Config
from onnxshallow.search.allocation import beside_measured, evenly_split
from onnxshallow.search.candidates import require_reachable
from onnxshallow.search.faster import faster_of, kept_in_time
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import MEASURED_TOLERANCE, about_equal
from onnxshallow.search.pricing import kept_in_budget
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget
from onnxshallow.search.time_budget import has_time

__all__ = ["Ranked", "fine_enough", "finer", "loses_much", "misses", "proposed", "ranked", "ranked_alone", "remark"]

logger = logging.getLogger(__name__)

# The least part of the ReLUs that were allowed that a plan is to keep.
_LEAST_KEPT = 0.9
# What is much damage where activations may become squares, in multiples of what counts as none; and the part of it
# that masks may do to be taken.
_MUCH, _FAR_LESS = 25.0, 0.5

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
        if not inputs.config.masks_in_gaps:
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
    kept = cost.relus - sum(c.relus for c in plan.candidates)
    return budget.relus is not None and kept < _LEAST_KEPT * budget.relus and plan.expected > budget.harmless


def loses_much(plan: Plan, config: Config, budget: Budget) -> bool:
    """Whether a plan of whole layers does so much damage that a part of each may do far less.

    Squares save no layer either way, so that what whole layers would be preferred for weighs less.

    Args:
        plan: of whole layers.
        config: the options.
        budget: what was asked for.
    """
    return config.squares and budget.relus is not None and plan.expected > _MUCH * budget.harmless > 0


def finer(run: Run, targets: int | None = None) -> Run | None:
    """A run with channel masks over the same data; None where they are no choice, or there is no time for them.

    Args:
        run: of whole layers.
        targets: how many are to be looked at so; None for the one of `optimize`.
    """
    if not run.inputs.config.masks_in_gaps:
        return None
    inputs = run.inputs.at_granularity("channel")
    if not has_time(inputs, sum(run.clock.seconds.values()), targets):
        return None
    return Run.begin(inputs, run.progress, run.clock, run.cache_folder)


def remark(config: Config, plan: Plan) -> list[str]:
    """A remark where `auto` led to masks."""
    if config.granularity != "auto" or all(c.whole or c.thinned for c in plan.candidates):
        return []
    return [
        "some activations stay for a part of their channels, since whole layers miss what was asked for or lose far "
        "more; --granularity layer does without"
    ]


def proposed(run: Run, budget: Budget) -> tuple[Run, Plan]:
    """The plan of least predicted damage, not carried out, and the run that it was found in.

    Raises:
        TargetError: no plan reaches the budget; says what can be reached.
    """
    if run.inputs.config.allocation != "measured":
        return run, evenly_split(run.inputs, budget)
    plan = run.proposal(budget)
    if (share := _most_of(plan, run, budget)) is None or (refined := finer(run)) is None:
        return run, plan
    with_masks = refined.proposal(replace(budget, shallower=False))
    return (refined, with_masks) if with_masks.predicted < share * plan.predicted else (run, plan)


def ranked(run: Run, budgets: Sequence[Budget], tries: Tries) -> list[Ranked | TargetError]:
    """What the search finds for each budget, with channel masks for those that whole layers miss.

    Args:
        run: what the search needs.
        budgets: what has to be reached.
        tries: how many plans to carry out.
    """
    found = ranked_alone(run, budgets, tries)
    shares = {
        number: share
        for number, (budget, result) in enumerate(zip(budgets, found, strict=True))
        if (share := 1.0 if isinstance(result, TargetError) else _most_of(result.plans[0], run, budget)) is not None
    }
    if not shares or (refined := finer(run, len(shares) if len(budgets) > 1 else None)) is None:
        return found
    logger.info("Whole layers will not do for %d of %d targets; looking at channel masks.", len(shares), len(budgets))
    whole = [result.plans[0] for n in shares if isinstance(result := found[n], Ranked)]
    asked = [replace(budgets[number], shallower=False) for number in shares]
    for number, with_masks in zip(shares, ranked_alone(refined, asked, tries, whole), strict=True):
        without = found[number]
        if isinstance(without, TargetError) or _is_better(with_masks, without.plans[0], shares[number]):
            found[number] = with_masks
    return found


def _most_of(plan: Plan, run: Run, budget: Budget) -> float | None:
    """The part of the damage of whole layers that masks may do to be taken; None where they are not looked at."""
    if misses(plan, run.inputs.analysis.cost, budget):
        return 1 / (1 + MEASURED_TOLERANCE)
    return _FAR_LESS if loses_much(plan, run.inputs.config, budget) else None


def ranked_alone(
    run: Run, budgets: Sequence[Budget], tries: Tries, beside: Sequence[Plan] = ()
) -> list[Ranked | TargetError]:
    """What the search finds for each budget at the run's own granularity.

    Args:
        run: see `ranked`, as for the following.
        budgets: what has to be reached.
        tries: how many plans to carry out.
        beside: plans to compare with these, found elsewhere.
    """
    plain = [replace(budget, squares=0) for budget in budgets if budget.price_saved is not None]
    carried_out = tries(run.inputs, len(budgets)) * (3 if plain else 2) // 2
    found = run.search([*budgets, *plain], carried_out, [*beside, *beside_measured(run.inputs, budgets)])
    if plain:  # all budgets limit the price, or none does
        found = [_either(*both) for both in zip(found[: len(budgets)], found[len(budgets) :], strict=True)]
    return [
        plans if isinstance(plans, TargetError) else _rank(run, budget, plans)
        for budget, plans in zip(budgets, found, strict=True)
    ]


def _either(first: list[Plan] | TargetError, second: list[Plan] | TargetError) -> list[Plan] | TargetError:
    """The plans of both searches, each once.

    Squares lower a price, and what several of them do together is more than the sum: plans without any, which the
    sums put behind, may do less damage.
    """
    if isinstance(first, TargetError):
        return second if not isinstance(second, TargetError) else first
    others = [] if isinstance(second, TargetError) else second
    return list({plan.keys: plan for plan in (*first, *others)}.values())


def _is_better(found: Ranked | TargetError, whole: Plan, share: float) -> bool:
    """Whether masks do at most a share of the damage of a plan without them, measured on the same samples."""
    if isinstance(found, TargetError):
        return False
    damages = {plan.keys: plan.damage or 0.0 for plan in found.plans}
    return damages[found.plans[0].keys] < share * damages.get(whole.keys, float("inf"))


def _rank(run: Run, budget: Budget, plans: Sequence[Plan]) -> Ranked:
    inputs, cost = run.inputs, run.inputs.analysis.cost
    plans = kept_in_time(inputs, run.observation, plans)
    plans = kept_in_budget(inputs, run.observation, budget, plans)
    best = faster_of(inputs, run.observation, about_equal(plans, cost, budget))
    others = sorted((plan for plan in plans if plan is not best), key=lambda plan: plan.damage or 0.0)
    return Ranked(run, [best, *others])
