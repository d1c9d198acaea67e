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
from onnxshallow.rewriting.stability import why_unstable
from onnxshallow.runtime.progress import Progress, Silent
from onnxshallow.search.attempt import realize_with
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.measures import Measure, damage
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from onnxshallow.search.solver import Budget
from onnxshallow.search.workers import run_all, worker_count

__all__ = ["search", "tries_alone", "tries_together"]

logger = logging.getLogger(__name__)

# What comparing plans may cost, and how many plans are compared at the most.
_SEARCH_FLOPS, _MOST_TRIES = 2.1e13, 24
# The part of that where plans hold masks and parabolas, each of which takes longer to be fitted and lowered.
_PARTLY = 0.6
# What a plan that is refused counts as, in what its parts do alone: enough to look elsewhere.
_REFUSED = 10.0
# How many plans are compared for each target at the most where several share them.
_MOST_EACH = 12


def search(
    inputs: Inputs,
    observation: Observation,
    measured: Sequence[MeasuredDamages],
    budgets: Sequence[Budget],
    progress: Progress,
    tries: int,
    beside: Sequence[Plan] = (),
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
        tries: how many plans to carry out. A single one has nothing to be compared with, and is taken as it is.
        beside: plans to compare with these, found elsewhere.

    Returns:
        For each budget the plans that reach it with their measured damages, in the order of proposal; where all of
        these were refused, they; an error, which says what can be reached, where there is no such plan.
    """
    planners = [
        Planner(inputs.analysis, found.candidates, found.damages, budget)
        for found, budget in zip(measured, budgets, strict=True)
    ]
    proposals = [planner.proposals() for planner in planners]
    trials = _Trials(inputs, observation, planners)
    tried, refused = dict[frozenset[str], Plan](), dict[frozenset[str], Plan]()
    failures, settled = dict[int, TargetError](), set[int]()
    for other in beside:
        if (measured_other := trials.of(other)) is not None:
            tried[other.keys] = measured_other
            for planner in planners:
                planner.learn(other, measured_other.damage or 0.0)
    with progress.stage("Comparing plans", tries) as step:
        for number in itertools.islice(itertools.cycle(range(len(budgets))), tries):
            plan = None
            try:
                plan = next(proposals[number], None)
            except TargetError as error:
                failures[number] = error
            if plan is None:
                settled.add(number)
            elif plan.keys not in tried and plan.keys not in refused:
                attempted = plan if tries == 1 else trials.of(plan, number)
                (refused if attempted is None else tried)[plan.keys] = attempted or plan
                done = _REFUSED * plan.predicted if attempted is None else attempted.damage or 0.0
                for planner in planners:
                    planner.learn(plan, done)
                if not plan.candidates or (attempted is not None and _is_harmless(attempted, inputs)):
                    settled.add(number)
            step()
            if len(settled) == len(budgets):
                break
    found: list[list[Plan] | TargetError] = []
    for number, planner in enumerate(planners):
        usable, others = ([plan for plan in plans.values() if planner.reaches(plan)] for plans in (tried, refused))
        each = max(2, tries // len(budgets))
        usable = usable or _with_fewer_squares(
            inputs, observation, measured[number], planner.budget, others, progress, each
        )
        found.append(failures.get(number) or usable or others)
    return found


class _Trials:
    """Carries plans out, each once; with several workers also those that come next if nothing new is learned.

    What is learned may lead elsewhere, and such a plan was carried out for nothing. So the plans that are asked for
    are the same with any number of workers, and so is what comes of them.

    Args:
        inputs: model, data and options.
        observation: what the original does with the data.
        planners: that propose the plans.
    """

    def __init__(self, inputs: Inputs, observation: Observation, planners: Sequence[Planner]) -> None:
        self._shared, self._planners = (inputs, observation), planners
        self._known: dict[frozenset[str], Plan | None] = {}

    def of(self, plan: Plan, asking: int = 0) -> Plan | None:
        """The plan with its damage; None where it is refused.

        Args:
            plan: to carry out.
            asking: which planner proposed it; that of the next has the next turn.
        """
        if plan.keys not in self._known:
            plans = [plan, *self._likely(asking, worker_count() - 1)]
            for each, found in zip(plans, run_all(_trial, self._shared, plans), strict=True):
                self._known[each.keys] = found
        return self._known[plan.keys]

    def _likely(self, asking: int, count: int) -> list[Plan]:
        """Up to so many plans that come next, not carried out yet."""
        turns = [*self._planners[asking + 1 :], *self._planners[: asking + 1]]
        each = -(-count // len(turns))
        ahead = [planner.ahead(each) for planner in turns[:count]]
        mixed = {plan.keys: plan for plans in itertools.zip_longest(*ahead) for plan in plans if plan is not None}
        return [plan for keys, plan in mixed.items() if keys not in self._known][:count]


def _with_fewer_squares(
    inputs: Inputs,
    observation: Observation,
    measured: MeasuredDamages,
    budget: Budget,
    refused: Sequence[Plan],
    progress: Progress,
    tries: int,
) -> list[Plan]:
    """What `search` finds with at most half of the squares of all that was refused, and then without any.

    Returns:
        No plans where these do not reach the budget, or there are no squares to do without.
    """
    least = min((sum(c.squares for c in plan.candidates) for plan in refused), default=0)
    if not least:
        return []
    fewer = replace(budget, squares=least // 2 if budget.squares is None else 0)
    (found,) = search(inputs, observation, [measured], [fewer], progress, tries)
    return [] if isinstance(found, TargetError) else found


def _is_harmless(plan: Plan, inputs: Inputs) -> bool:
    """Whether a plan moves no output, so that no further one can do less.

    Disagreement does not tell: outputs may move where classes stay.
    """
    return plan.damage == 0 and inputs.config.sensitivity != "disagreement"


def tries_alone(inputs: Inputs, budgets: int = 1) -> int:
    """How many plans to carry out for one budget; only one where damages are read off the weights."""
    return 1 if inputs.config.sensitivity == "magnitude" else _affordable_tries(inputs)


def tries_together(inputs: Inputs, budgets: int) -> int:
    """How many plans to carry out for several budgets, which share them."""
    return min(max(budgets, _affordable_tries(inputs) * 3 // 2), _MOST_EACH * budgets)


def _affordable_tries(inputs: Inputs) -> int:
    """How many plans to carry out: many for small networks, a few for large ones."""
    reduced, analysis = inputs.reduced, inputs.analysis
    fitted, selected, watched = (
        sum(len(next(iter(batch.values()))) for batch in part)
        for part in (reduced.batches[reduced.fitting], reduced.batches[reduced.selection], reduced.watched)
    )
    flops = 2.0 * analysis.cost.macs * (2 * fitted + selected + 3 * watched)
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


def _trial(shared: tuple[Inputs, Observation], plan: Plan) -> Plan | None:
    """What a worker carries out."""
    return _try_out(*shared, plan)


def _try_out(inputs: Inputs, observation: Observation, plan: Plan) -> Plan | None:
    """Apply a plan in a cheap way; the plan with its damage on the selection samples, None where it is refused."""
    try:
        realized = realize_with(inputs.reduced, inputs, observation, plan, Silent())
    except NotLinearError as error:
        logger.warning("A plan is left out: %s", error)
        return None
    if realized.analysis.cost.squares > inputs.analysis.cost.squares:
        why = why_unstable(inputs.analysis, observation.statistics, realized.network, inputs.reduced)
        if why is not None:
            logger.info("A plan is refused: %s.", why)
            return None
    measure: Measure = "kl" if inputs.config.sensitivity == "magnitude" else inputs.config.sensitivity
    return replace(plan, damage=damage(measure, observation.reference, realized.outputs, inputs.kinds))
