"""The integer program: least damage under budgets, conflicts excluded.

    minimise     sum damage_c x_c - preference * sum shallower_c x_c
    subject to   sum relus_c x_c >= relus to save,   sum macs_c x_c >= MACs to save
                 sum x_c over the candidates at one node <= 1
                 at least one activation site stays
                 x_c in {0, 1}

solved to optimality by HiGHS. Damages are taken to add up, which is what makes the program linear (as in
arXiv 2107.11442, there for ranks); how far that is from the truth is measured afterwards on the whole plan.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxshallow.actions.base import Candidate

__all__ = ["Budget", "conflicts", "solve"]


@dataclass(frozen=True)
class Budget:
    """What a plan has to reach.

    Attributes:
        relus: the largest ReLU count that is allowed, or None.
        macs: the largest number of multiply-adds that is allowed, or None.
    """

    relus: int | None = None
    macs: int | None = None


def conflicts(candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
    """Sets of candidates, by position, of which at most one may be taken.

    Candidates exclude each other when they replace the same node. A merger of a residual block up to its sum and
    the removal of the activation after that sum exclude each other where the merger of both is a candidate of
    its own, whose damage was measured and need not be added up.
    """
    at_node: dict[int, list[int]] = {}
    for position, candidate in enumerate(candidates):
        for node in candidate.nodes:
            at_node.setdefault(node, []).append(position)
    found = {tuple(positions) for positions in at_node.values() if len(positions) > 1}
    whole = {(c.source, frozenset(c.sites)) for c in candidates if len(c.sites) > 1}
    singles = [(p, c) for p, c in enumerate(candidates) if len(c.sites) == 1 and c.kernel is None]
    for position, candidate in enumerate(candidates):
        for other, single in singles:
            union = frozenset({*candidate.sites, *single.sites})
            if candidate.output == single.source and (candidate.source, union) in whole:
                found.add((position, other))
    return sorted(found)


def solve(
    candidates: Sequence[Candidate],
    damages: Mapping[str, float],
    budget: Budget,
    *,
    relus: int,
    macs: int,
    sites: int,
    preference: float = 0.0,
    excluded: Collection[frozenset[str]] = (),
) -> tuple[Candidate, ...] | None:
    """The plan of least total damage.

    Args:
        candidates: what can be chosen; those without a damage are left out.
        damages: damage by candidate key.
        budget: what has to be reached.
        relus: ReLU count of the original.
        macs: multiply-adds of the original.
        sites: number of activation sites of the original; one has to stay.
        preference: how much damage a saving of all multiply-adds is worth; decides among near-equals.
        excluded: plans, as sets of keys, that were tried before.

    Returns:
        The chosen candidates, or None where no choice reaches the budget.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    usable = [c for c in candidates if c.key in damages]
    needed = relus - budget.relus if budget.relus is not None else 0
    to_save = macs - budget.macs if budget.macs is not None else -(1 << 60)
    if needed <= 0 and to_save <= 0:
        return ()
    if not usable:
        return None
    cost = np.array([max(damages[c.key], 0.0) - preference * c.macs / max(macs, 1) for c in usable])
    cost += 1e-9 * np.arange(1, len(usable) + 1) / len(usable)  # ties are broken by order
    rows: list[tuple[np.ndarray, float, float]] = []
    scale = 1.0 / max(relus, 1)
    rows.append((np.array([c.relus for c in usable]) * scale, needed * scale, np.inf))
    if budget.macs is not None:
        rows.append((np.array([c.macs for c in usable]) / max(macs, 1), to_save / max(macs, 1), np.inf))
    rows.append((np.array([len(c.sites) for c in usable], dtype=float), 0, sites - 1))
    for group in conflicts(usable):
        row = np.zeros(len(usable))
        row[list(group)] = 1
        rows.append((row, 0, 1))
    for plan in excluded:
        members = [position for position, c in enumerate(usable) if c.key in plan]
        row = -np.ones(len(usable))
        row[members] = 1
        rows.append((row, -np.inf, len(members) - 1))
    matrix = np.stack([row for row, _, _ in rows])
    result = milp(
        cost,
        constraints=LinearConstraint(matrix, [low for _, low, _ in rows], [high for _, _, high in rows]),
        integrality=np.ones(len(usable)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if result.x is None:
        return None
    chosen = tuple(c for c, taken in zip(usable, result.x, strict=True) if taken > 0.5)
    saved = sum(c.relus for c in chosen), sum(c.macs for c in chosen)
    if saved[0] < needed or (budget.macs is not None and saved[1] < to_save):
        return None  # the solver's tolerance let a hair's breadth through
    return _pruned(chosen, damages, needed, to_save)


def _pruned(
    chosen: Sequence[Candidate], damages: Mapping[str, float], needed: int, to_save: int
) -> tuple[Candidate, ...]:
    """`chosen` without candidates that the budgets do not need and that save no multiply-adds."""
    kept = list(chosen)
    for candidate in sorted(chosen, key=lambda c: -damages[c.key]):
        rest = [c for c in kept if c is not candidate]
        if candidate.macs <= 0 and sum(c.relus for c in rest) >= needed and sum(c.macs for c in rest) >= to_save:
            kept = rest
    return tuple(kept)


def smallest_relus(candidates: Sequence[Candidate], relus: int, macs: int, sites: int) -> int:
    """The lowest ReLU count that any plan reaches."""
    low, high = 0, relus
    zero = {c.key: 0.0 for c in candidates}
    while low < high:
        middle = (low + high) // 2
        found = solve(candidates, zero, Budget(relus=middle), relus=relus, macs=macs, sites=sites)
        if found is None:
            low = middle + 1
        else:
            high = min(middle, relus - sum(c.relus for c in found))
    return low


