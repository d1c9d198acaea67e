"""Spread ranks without samples: every split layer gets the same relative error, as small as the targets allow.

ALDS (arXiv 2107.11442) minimises the largest relative error over the layers, in the operator norm of the weights. For
a given error every layer takes the form that saves most within it, and the error is bisected until the plan reaches
the budget; that is the least there is, so the random starts of the original are not needed. For several groups the
error is the largest of a group, as there; a bound for all of them would be up to the root of their number larger.
"""

import bisect
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis
from onnxshallow.errors import TargetError
from onnxshallow.search.candidates import find_candidates, find_options
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.solver import Budget

__all__ = ["beside_measured", "evenly_split", "least_largest_error", "split_candidates"]


def evenly_split(inputs: Inputs, budget: Budget) -> Plan:
    """The plan of splits that reaches the budget with the least largest error.

    Args:
        inputs: model and options.
        budget: what has to be reached.

    Raises:
        TargetError: no splits reach it.
    """
    return Plan(least_largest_error(inputs.analysis, split_candidates(inputs), budget), {})


def split_candidates(inputs: Inputs) -> list[Candidate]:
    """Every way to split a layer in two, at every rank."""
    every_size = replace(find_options(inputs), deeper=True, every_size=True)
    candidates, _ = find_candidates(inputs.analysis, every_size)
    return [candidate for candidate in candidates if candidate.kind == "split"]


def beside_measured(inputs: Inputs, budgets: Sequence[Budget]) -> list[Plan]:
    """Plans to compete with those of measured damage: for each budget that splits reach, the evenly split one."""
    found = []
    for budget in budgets if find_options(inputs).deeper else ():
        with suppress(TargetError):
            found.append(evenly_split(inputs, budget))
    return found


def least_largest_error(analysis: Analysis, candidates: Sequence[Candidate], budget: Budget) -> tuple[Candidate, ...]:
    """One candidate a place at the most, whose largest relative error is the least that reaches the budget.

    Args:
        analysis: of the original.
        candidates: those without an error are left out.
        budget: what has to be reached.

    Raises:
        TargetError: no error does; says what can be reached.
    """
    places: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.error is not None:
            places.setdefault(candidate.place, []).append(candidate)
    usable = [candidate for group in places.values() for candidate in group]
    planner = Planner(analysis, usable, dict.fromkeys((c.key for c in usable), 0.0), budget)
    limits = planner.limits

    def within(error: float) -> tuple[Candidate, ...]:
        """Of each place what saves most of what is limited, if there is something within the error."""
        small = [[c for c in group if (c.error or 0.0) <= error] for group in places.values()]
        return tuple(max(group, key=lambda c: (_saved(c, limits), -(c.error or 0.0))) for group in small if group)

    errors = sorted({candidate.error or 0.0 for candidate in usable})
    position = bisect.bisect_left(errors, True, key=lambda error: planner.reaches(Plan(within(error), {})))
    if position == len(errors):
        raise TargetError("Layers split in two do not reach the targets; take --allocation measured, or raise them.")
    return within(errors[position])


def _saved(candidate: Candidate, limits: Sequence[tuple[str, int, int]]) -> float:
    """The share of what is limited that a candidate saves, all limits together."""
    shares = (float(getattr(candidate, name)) / max(total, 1) for name, total, most in limits if most < total)
    return sum(shares)
