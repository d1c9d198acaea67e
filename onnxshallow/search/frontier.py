"""What other ReLU counts would cost, to be expected from what a run has measured for its own target."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.solver import Budget

__all__ = ["SHARES", "expected_frontier"]

SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Shares of the ReLU count that a frontier is drawn at."""


def expected_frontier(
    analysis: Analysis,
    candidates: Sequence[Candidate],
    damages: Mapping[str, float],
    tried: Iterable[Plan],
    budget: Budget,
) -> list[Plan]:
    """The plan of least expected damage for each of `SHARES`, with that damage; shares out of reach are left out.

    Candidates that mattered little to the run's own target may not have been measured, so that the true frontier is
    lower here and there.

    Args:
        analysis: of the original.
        candidates: all that is possible.
        damages: those that were measured, by candidate key.
        tried: plans that were carried out, with their measured damages.
        budget: the run's, of which all but the ReLUs and the price holds.
    """
    plans, free = list(tried), replace(budget, price_saved=None)
    found = []
    for share in SHARES:
        planner = Planner(analysis, candidates, damages, replace(free, relus=int(share * analysis.cost.relus)))
        for plan in plans:
            if plan.damage is not None:
                planner.learn(plan, plan.damage)
        expected = planner.expected()
        if expected is not None:
            found.append(expected)
    return found
