"""Spread ranks without samples: every split layer gets about the same relative error, as small as the targets allow.

ALDS (arXiv 2107.11442) minimises the largest relative error over the layers, in the operator norm of the weights. For
a given error every layer takes the form that saves most within it, and the error is bisected until the plan reaches
the budget; that is the least there is, so the random starts of the original are not needed. For several groups the
error is the largest of a group, as there; a bound for all of them would be up to the root of their number larger.

The largest error looks at one layer alone. The sum of a high power of all errors looks at that one most, and at the
others as well; here the errors are those in the Frobenius norm, which the fit lowers (docs/decisions/low-rank.md).
"""

import bisect
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from math import sqrt

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis
from onnxshallow.errors import TargetError
from onnxshallow.search.candidates import find_candidates, find_options
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.solver import Budget

__all__ = ["beside_measured", "evenly_split", "least_largest_error", "least_sum_of_powers", "split_candidates"]

_OUT_OF_REACH = "Layers that are split do not reach the targets; take --allocation measured, or raise them."
# The power of the errors whose sum is least. With 2 or 3 the last layers lose all; beyond 12 it is the largest alone.
_POWER = 8.0
# How far the price of what is saved is bisected.
_HALVINGS = 60


def evenly_split(inputs: Inputs, budget: Budget) -> Plan:
    """The plan of splits that reaches the budget with even errors, or the least largest one, as the options say.

    Args:
        inputs: model and options.
        budget: what has to be reached.

    Raises:
        TargetError: no splits reach it.
    """
    spread = least_sum_of_powers if inputs.config.allocation == "even" else least_largest_error
    return Plan(spread(inputs.analysis, split_candidates(inputs), budget), {})


def split_candidates(inputs: Inputs) -> list[Candidate]:
    """Every way to split a layer, at every rank."""
    every_size = replace(find_options(inputs), deeper=True, every_size=True)
    candidates, _ = find_candidates(inputs.analysis, every_size)
    return [candidate for candidate in candidates if candidate.kind == "split"]


def beside_measured(inputs: Inputs, budgets: Sequence[Budget]) -> list[Plan]:
    """Plans to compete with those of measured damage: two for each budget that splits reach."""
    found = []
    if find_options(inputs).deeper:
        candidates = split_candidates(inputs)
        for budget, spread in itertools.product(budgets, (least_sum_of_powers, least_largest_error)):
            with suppress(TargetError):
                found.append(Plan(spread(inputs.analysis, candidates, budget), {}))
    return found


def least_sum_of_powers(analysis: Analysis, candidates: Sequence[Candidate], budget: Budget) -> tuple[Candidate, ...]:
    """One candidate a place at the most, such that the sum of a power of their errors is about the least there is.

    Every place takes what errs least once what it saves is paid for; the price is the least that reaches the budget
    (Lagrange; Everett, 1963).

    Args:
        analysis: of the original.
        candidates: whose capacity is the inverse of an error.
        budget: what has to be reached.

    Raises:
        TargetError: no price does; says what can be reached.
    """
    planner, places = _by_place(analysis, candidates, budget)

    def at(price: float) -> tuple[Candidate, ...]:
        """Of each place what is worth most at a price of all that is limited."""
        worth = {c: price * _saved(c, planner.limits) - c.capacity**-_POWER for group in places for c in group}
        best = (max(group, key=worth.__getitem__) for group in places)
        return tuple(candidate for candidate in best if worth[candidate] > 0)

    least, most = 1e-12, 1e6
    if not planner.reaches(Plan(at(most), {})):
        raise TargetError(_OUT_OF_REACH)
    for _ in range(_HALVINGS):
        middle = sqrt(least * most)
        least, most = (least, middle) if planner.reaches(Plan(at(middle), {})) else (middle, most)
    return at(most)


def least_largest_error(analysis: Analysis, candidates: Sequence[Candidate], budget: Budget) -> tuple[Candidate, ...]:
    """One candidate a place at the most, whose largest relative error is the least that reaches the budget.

    Args:
        analysis: of the original.
        candidates: those without an error are left out.
        budget: what has to be reached.

    Raises:
        TargetError: no error does; says what can be reached.
    """
    usable = [candidate for candidate in candidates if candidate.error is not None]
    planner, places = _by_place(analysis, usable, budget)
    limits = planner.limits

    def within(error: float) -> tuple[Candidate, ...]:
        """Of each place what saves most of what is limited, if there is something within the error."""
        small = [[c for c in group if (c.error or 0.0) <= error] for group in places]
        return tuple(max(group, key=lambda c: (_saved(c, limits), -(c.error or 0.0))) for group in small if group)

    errors = sorted({candidate.error or 0.0 for candidate in usable})
    position = bisect.bisect_left(errors, True, key=lambda error: planner.reaches(Plan(within(error), {})))
    if position == len(errors):
        raise TargetError(_OUT_OF_REACH)
    return within(errors[position])


def _by_place(
    analysis: Analysis, candidates: Sequence[Candidate], budget: Budget
) -> tuple[Planner, list[list[Candidate]]]:
    """What tells whether candidates reach a budget, and those of each place."""
    places: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        places.setdefault(candidate.place, []).append(candidate)
    planner = Planner(analysis, candidates, dict.fromkeys((c.key for c in candidates), 0.0), budget)
    return planner, list(places.values())


def _saved(candidate: Candidate, limits: Sequence[tuple[str, int, int]]) -> float:
    """The share of what is limited that a candidate saves, all limits together."""
    shares = (float(getattr(candidate, name)) / max(total, 1) for name, total, most in limits if most < total)
    return sum(shares)
