"""From damages to plans, best first.

The integer program knows only single damages. So the planner proposes several plans: the least predicted damage
first, then, among plans of about that damage, the one that saves most multiply-adds and layers; after that the next
best. Whoever carries them out measures which is really the best.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis
from onnxshallow.config import Config, parse_target
from onnxshallow.errors import TargetError
from onnxshallow.planning.plan import Plan
from onnxshallow.planning.solver import Budget, Problem

__all__ = ["proposals", "read_budget"]

# A plan that predicts this share more damage than the best is still "about equal" when it is cheaper.
TOLERANCE = 0.25


def read_budget(config: Config, analysis: Analysis) -> Budget:
    """The targets of a run in absolute numbers.

    Raises:
        UsageError: a target is malformed.
    """
    relus = None if config.target_relus is None else parse_target(config.target_relus, analysis.cost.relus)
    macs = None if config.target_macs is None else parse_target(config.target_macs, analysis.cost.macs)
    if macs is None and config.kernel != "exact":
        macs = analysis.cost.macs  # fewer ReLUs are not to be paid for with compute that nobody asked for
    return Budget(relus, macs)


def proposals(
    analysis: Analysis,
    candidates: Sequence[Candidate],
    damages: Mapping[str, float],
    budget: Budget,
    *,
    excluded: Collection[frozenset[str]] = (),
) -> Iterator[Plan]:
    """Plans that reach the budget, the most promising first; no plan twice.

    Raises:
        TargetError: no plan reaches the budget; says what can be reached.
    """
    cost = analysis.cost
    usable = [c for c in candidates if c.key in damages]
    problem = Problem(tuple(usable), cost.relus, cost.macs, cost.linear_layers, cost.relu_nodes, budget)
    seen = set(excluded)
    best = problem.least_damage(damages, seen)
    if best is None:
        raise _unreachable(problem, budget)
    while best is not None:
        total = sum(damages[c.key] for c in best)
        cheap = problem.cheapest(damages, total * (1 + TOLERANCE) + 1e-9, seen)
        for chosen in (cheap, best):
            keys = None if chosen is None else frozenset(c.key for c in chosen)
            if chosen is not None and keys is not None and keys not in seen:
                seen.add(keys)
                yield Plan(chosen, {c.key: damages[c.key] for c in chosen})
        best = problem.least_damage(damages, seen)


def _unreachable(problem: Problem, budget: Budget) -> TargetError:
    parts = []
    if budget.relus is not None:
        parts.append(f"{budget.relus} ReLUs ({_share(budget.relus, problem.relus)})")
    if budget.macs is not None:
        parts.append(f"{budget.macs} MACs ({_share(budget.macs, problem.macs)})")
    fewest = problem.fewest_relus()
    reached = f"{fewest} ReLUs ({_share(fewest, problem.relus)})"
    if budget.macs is not None:
        macs = problem.fewest_macs()
        reached += f", or {macs} MACs ({_share(macs, problem.macs)})"
    return TargetError(
        f"The target of {' and '.join(parts)} cannot be reached: the lowest possible on this model is {reached}, "
        "since one activation stays and the rest cannot all be removed. Raise the target; "
        "`onnxshallow analyze` names the reason for each site that stays."
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%} of the original's" if whole else "none in the original"
