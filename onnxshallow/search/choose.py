"""The stage that chooses: the best of the plans that competed are carried out and validated, and one is kept."""

import logging
from dataclasses import replace

from onnxshallow.errors import TargetError
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.compete import tries_alone
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import most_useful
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget

__all__ = ["choose"]

logger = logging.getLogger(__name__)

# How many plans are validated before the best of those that are refused is taken.
MAX_VALIDATED = 4
# Shares of the ReLUs that are tried when only an accuracy budget is given.
_SHARES = tuple(share / 20 for share in range(19, 0, -1))


def choose(run: Run, budget: Budget) -> tuple[Attempt, list[str]]:
    """The plan to keep, carried out and validated, and what to say of it.

    Plans compete on the selection samples. Those that come out best are then validated, one after the other, until
    one may be used.

    Raises:
        TargetError: no plan reaches the budget.
    """
    cost = run.inputs.analysis.cost
    if not run.inputs.config.has_target:
        return _deepest(run)
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
        if not plans or attempt.usable:
            break
        why = " ".join(finding.text for finding in attempt.findings if finding.refuses)
        logger.info("Plan %d is not taken: %s Trying another.", tries, why)
    if best is None:
        raise TargetError("No plan was carried out; raise the target.")
    return best, []


def _search(run: Run, budget: Budget) -> list[Plan]:
    (found,) = run.search([budget], tries_alone(run.inputs))
    if isinstance(found, TargetError):
        raise found
    return found


def _deepest(run: Run) -> tuple[Attempt, list[str]]:
    """As few ReLUs as the accuracy budget allows, by bisection over shares of the ReLU count."""
    cost = run.inputs.analysis.cost
    best = run.attempt(Plan((), {}))
    low, high = 0, len(_SHARES)
    while low < high:
        middle = (low + high) // 2
        budget = replace(run.inputs.budget, relus=int(_SHARES[middle] * cost.relus))
        try:
            attempt = run.attempt(most_useful(_search(run, budget), cost, budget.shallower))
        except TargetError:
            high = middle
            continue
        if attempt.usable:
            best, low = attempt, middle + 1
        else:
            high = middle
    return best, ["the lowest ReLU count that was found within the accuracy budget"]
