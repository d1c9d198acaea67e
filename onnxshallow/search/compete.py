"""The stage that searches: plans are carried out in a cheap way, and the one to keep is chosen by what they do."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxshallow.analysis import Analysis, Layer, NotLinearError
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.errors import TargetError
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.rewriting.stability import samples_looked_at
from onnxshallow.runtime.progress import Progress, Silent
from onnxshallow.search.attempt import realize_with
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner, most_useful
from onnxshallow.search.sensitivity.measures import Measure, damage
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from onnxshallow.search.solver import Budget

__all__ = ["search", "search_together"]

logger = logging.getLogger(__name__)

# What comparing plans may cost, and how many plans are compared at the most.
_SEARCH_FLOPS, _MOST_TRIES = 2.1e13, 24
# The part of that where plans hold masks and parabolas, each of which costs more to be fitted and packed.
_PARTLY = 0.6
# What a plan that is refused counts as, in what its parts do alone: enough to look elsewhere.
_REFUSED = 10.0
# How many plans are compared for each target at the most where several share them.
_MOST_EACH = 12


def search(
    inputs: Inputs, observation: Observation, measured: MeasuredDamages, budget: Budget, progress: Progress
) -> list[Plan]:
    """Carry out proposed plans in a cheap way and measure what they do to the selection samples.

    How many depends on the size of the fits, not on the clock, so that the same inputs give the same plan.

    Returns:
        The plans with their measured damages, in the order of proposal; where all were refused, these.

    Raises:
        TargetError: no plan reaches the budget.
    """
    planner = Planner(inputs.analysis, measured.candidates, measured.damages, budget)
    tries = _affordable_tries(inputs) if inputs.config.sensitivity != "magnitude" else 1
    plans: list[Plan] = []
    refused: list[Plan] = []
    with progress.stage("Comparing plans", tries) as step:
        for plan in itertools.islice(planner.proposals(), tries):
            attempted = plan if tries == 1 else _try_out(inputs, observation, plan)
            step()
            if attempted is None:
                planner.learn(plan, _REFUSED * plan.predicted)
                refused.append(plan)
                continue
            if attempted.damage is not None:
                planner.learn(plan, attempted.damage)
            plans.append(attempted)
            if not plan.candidates or _is_harmless(plans, inputs, budget):
                break
    return plans or _with_fewer_squares(inputs, observation, measured, budget, refused, progress) or refused


def _with_fewer_squares(
    inputs: Inputs,
    observation: Observation,
    measured: MeasuredDamages,
    budget: Budget,
    refused: Sequence[Plan],
    progress: Progress,
) -> list[Plan]:
    """What `search` finds with at most half of the squares of all that was refused, and then without any.

    Returns:
        No plans where these do not reach the budget, or there are no squares to do without.
    """
    least = min((sum(c.squares for c in plan.candidates) for plan in refused), default=0)
    if not least:
        return []
    try:
        fewer = replace(budget, squares=least // 2 if budget.squares is None else 0)
        return search(inputs, observation, measured, fewer, progress)
    except TargetError:
        return []


def _is_harmless(plans: Sequence[Plan], inputs: Inputs, budget: Budget) -> bool:
    """Whether the best plan moves no output, so that no further one can do less.

    Disagreement does not tell: outputs may move where classes stay.
    """
    best = most_useful(plans, inputs.analysis.cost, budget.shallower)
    return best.damage == 0 and inputs.config.sensitivity != "disagreement"


def _affordable_tries(inputs: Inputs) -> int:
    """How many plans to carry out: many for small networks, a few for large ones."""
    reduced, analysis = inputs.reduced, inputs.analysis
    sizes = [len(next(iter(batch.values()))) for batch in reduced.batches]
    fitted, selected = sum(sizes[reduced.fitting]), sum(sizes[reduced.selection])
    changed = samples_looked_at(reduced) if inputs.config.polynomials else 0
    flops = 2.0 * analysis.cost.macs * (2 * fitted + selected + changed)
    flops += sum(
        _fit_flops(analysis, layer, fitted, reduced.fit) for layer in analysis.layers if layer.kind != "affine"
    )
    share = _PARTLY if inputs.config.in_part else 1.0
    return int(np.clip(share * _SEARCH_FLOPS / max(flops, 1.0), 2, 1 + share * (_MOST_TRIES - 1)))


def _fit_flops(analysis: Analysis, layer: Layer, samples: int, fit: FitOptions) -> float:
    """What it takes to fit a layer, if it has the rows: the sums, their factorisation, rounds of new targets."""
    outputs, unknowns = layer.weight_shape[0], float(np.prod(layer.weight_shape[1:]))
    macs = layer_macs(analysis.network, analysis.network.nodes[layer.main]) or 0
    available = samples * macs / (outputs * unknowns)
    if available < fit.fewest_rows * unknowns:
        return 0.0
    rows = min(available, max(fit.rows_per_unknown * unknowns, fit.least_rows))
    groups = analysis.layers.groups(layer)
    products = rows * unknowns * (groups * unknowns + 4 * outputs * (1 + fit.rounds))
    return products + groups * unknowns**3


def search_together(
    inputs: Inputs,
    observation: Observation,
    measured: Sequence[MeasuredDamages],
    budgets: Sequence[Budget],
    progress: Progress,
) -> list[Plan | TargetError]:
    """One plan for each budget; all budgets learn from every plan that is carried out, and may take it.

    Returns:
        The plans with their measured damages; an error, which says what can be reached, where none reaches a budget.
    """
    planners = [
        Planner(inputs.analysis, found.candidates, found.damages, budget)
        for found, budget in zip(measured, budgets, strict=True)
    ]
    tried: dict[frozenset[str], Plan | None] = {}
    refused: list[Plan] = []
    failures: list[TargetError | None] = [None for _ in budgets]
    proposals = [planner.proposals() for planner in planners]
    tries = min(max(len(budgets), _affordable_tries(inputs) * 3 // 2), _MOST_EACH * len(budgets))
    with progress.stage("Comparing plans", tries) as step:
        for number in itertools.islice(itertools.cycle(range(len(budgets))), tries):
            plan = None
            if failures[number] is None:
                try:
                    plan = next(proposals[number], None)
                except TargetError as error:
                    failures[number] = error
            if plan is not None and plan.keys not in tried:
                attempted = tried[plan.keys] = _try_out(inputs, observation, plan)
                if attempted is None:
                    refused.append(plan)
                done = _REFUSED * plan.predicted if attempted is None else attempted.damage or 0.0
                for other in planners:
                    other.learn(plan, done)
            step()
    return [
        failure
        or most_useful(
            [plan for plan in tried.values() if plan is not None and planner.reaches(plan)]
            or [plan for plan in refused if planner.reaches(plan)],
            inputs.analysis.cost,
            planner.budget.shallower,
        )
        for planner, failure in zip(planners, failures, strict=True)
    ]


def _try_out(inputs: Inputs, observation: Observation, plan: Plan) -> Plan | None:
    """Apply a plan in a cheap way; the plan with its damage on the selection samples, None where it is refused."""
    try:
        realized = realize_with(inputs.reduced, inputs, observation, plan, Silent())
    except NotLinearError as error:
        logger.warning("A plan is left out: %s", error)
        return None
    if realized.unstable is not None:
        logger.info("A plan is refused: %s.", realized.unstable)
        return None
    measure: Measure = "kl" if inputs.config.sensitivity == "magnitude" else inputs.config.sensitivity
    return replace(plan, damage=damage(measure, observation.reference, realized.outputs))
