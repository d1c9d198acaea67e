"""The stage that chooses: the best of the plans that competed are carried out and validated, and one is kept."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from onnxshallow.errors import AccuracyError, TargetError
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.compete import tries_alone
from onnxshallow.search.faster import faster_of, kept_in_time
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import most_useful
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget

__all__ = ["check_accuracy", "choose"]

logger = logging.getLogger(__name__)

# How many plans are validated before an accuracy budget is given up.
MAX_VALIDATED = 4
# Shares of the ReLUs that are tried when only an accuracy budget is given.
_SHARES = tuple(share / 20 for share in range(19, 0, -1))


def choose(run: Run, budget: Budget) -> tuple[Attempt, list[str]]:
    """The plan to keep, carried out and validated, and what to say of it.

    Plans compete on the selection samples. Those that come out best are then validated, one after the other, until
    one keeps the accuracy budget.

    Raises:
        TargetError: no plan reaches the budget.
    """
    limit = run.inputs.config.max_drop
    if limit is not None and not run.inputs.config.has_target:
        return _deepest(run, limit)
    plans = _search(run, budget)
    best: Attempt | None = None
    for tries in range(1, MAX_VALIDATED + 1):
        chosen = _best(run, plans, budget) if tries == 1 else min(plans, key=lambda plan: plan.damage or 0.0)
        plans = [plan for plan in plans if plan is not chosen]
        attempt = run.attempt(chosen)
        if best is None or attempt.rank() < best.rank():
            best = attempt
        if not plans or attempt.keeps(limit):
            break
        why = attempt.realized.unstable or f"it loses {100 * attempt.loss.value:.2f} points"
        logger.info("Plan %d is not taken: %s; trying another.", tries, why)
    if best is None:
        raise TargetError("No plan was carried out; raise the target.")
    return best, []


def _search(run: Run, budget: Budget) -> list[Plan]:
    (found,) = run.search([budget], tries_alone(run.inputs))
    if isinstance(found, TargetError):
        raise found
    return kept_in_time(run.inputs, run.observation, found)


def _best(run: Run, plans: Sequence[Plan], budget: Budget) -> Plan:
    """The plan to keep: of those of about the least damage the one that saves most, unless another is faster."""
    return faster_of(run.inputs, run.observation, most_useful(plans, run.inputs.analysis.cost, budget.shallower))


def _deepest(run: Run, limit: float) -> tuple[Attempt, list[str]]:
    """As few ReLUs as the accuracy budget allows, by bisection over shares of the ReLU count."""
    cost = run.inputs.analysis.cost
    best = run.attempt(Plan((), {}))
    low, high = 0, len(_SHARES)
    while low < high:
        middle = (low + high) // 2
        budget = replace(run.inputs.budget, relus=int(_SHARES[middle] * cost.relus))
        try:
            attempt = run.attempt(_best(run, _search(run, budget), budget))
        except TargetError:
            high = middle
            continue
        if attempt.keeps(limit):
            best, low = attempt, middle + 1
        else:
            high = middle
    return best, ["the lowest ReLU count that was found within the accuracy budget"]


def check_accuracy(inputs: Inputs, attempt: Attempt) -> AccuracyError | None:
    """An error where the model that was made is unstable or breaks the accuracy budget."""
    limit, loss = inputs.config.max_drop, attempt.loss
    if attempt.realized.unstable is not None:
        return AccuracyError(
            f"The best plan is refused: {attempt.realized.unstable}. Leave out --polynomials, raise the target, or "
            "give more calibration samples."
        )
    if limit is None or loss.value <= limit:
        return None
    return AccuracyError(
        f"The best plan loses {100 * loss.value:.2f} points of {loss.what} on {inputs.data.report.source}, more than "
        f"--max-drop {limit:g} allows. Allow more, raise the target, or give more calibration samples."
    )
