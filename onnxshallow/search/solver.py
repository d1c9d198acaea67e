"""The integer program: least damage under budgets, conflicts excluded.

    minimise     sum damage_c x_c
    subject to   sum relus_c x_c >= ReLUs to save, and so for multiply-adds, parameters and bytes of the file
                 sum x_c over candidates that exclude each other <= 1
                 sum depth_c x_c >= layers to save,   at least one activation site stays
                 x_c in {0, 1}

solved by HiGHS (through scipy) to optimality, or to a thousandth of it where sites may stay in part. Damages are
taken to add up, which is what makes the program linear (as in arXiv 2107.11442, there for ranks), except for pairs of
neighbours: what both do beyond the sum is paid by y >= sum of x over the first place + sum of x over the second - 1.
How far all this is from the truth is measured afterwards on the whole plan.

A network without any activation is linear, which no budget can mean, so one site always stays.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.actions.base import Candidate
from onnxshallow.search.estimates import Pair
from onnxshallow.search.overlaps import Overlap, find_overlaps, saved

__all__ = ["COUNTED", "NEIGHBOURHOOD", "Budget", "Problem", "conflicts"]

COUNTED = {"relus": "ReLUs", "macs": "MACs", "params": "parameters", "size_bytes": "bytes of the file"}
"""What candidates save in whole numbers that add up, in words by its name in `Candidate`, `Cost` and `Budget`."""

NEIGHBOURHOOD = 4
"""How many candidates a neighbour of a plan adds or drops."""

# Where a plan near the least is enough: how far it may be from it, and how many nodes are searched.
_ROUGH_GAP, _ROUGH_NODES = 0.05, 20
# How far from the least a plan may be where sites may stay in part: to prove the last thousandth takes minutes, as
# many sums of parts are nearly alike, and says nothing, as damages are not known that well.
_PARTIAL_GAP = 1e-3

# How often a choice that misses a budget by the solver's tolerance is excluded before giving up.
_MOST_REPEATS = 20

_Row = tuple[NDArray[np.float64], float, float]


@dataclass(frozen=True)
class Budget:
    """What a plan has to reach. Without a limit on multiply-adds, these are no reason to prefer a plan either.

    Attributes:
        relus: the largest ReLU count that is allowed, or None.
        macs: the largest number of multiply-adds that is allowed, or None.
        params: the largest number of parameters that is allowed, or None.
        size_bytes: the largest size of the file that is allowed, or None.
        depth: the largest number of linear layers on the longest path that is allowed, or None.
        squares: the largest number of squares that may be added, or None.
        price_saved: the least to save of what private inference costs, in the unit that is asked for, or None.
        time_saved: the least seconds to save on this machine, as far as they add up, or None.
        depth_saved: the smallest number of linear layers to save, or None where some may be added.
        shallower: whether a plan that saves layers or multiply-adds is worth some more damage.
        harmless: damage up to this counts as none, so that the plan that saves most may do it.
    """

    relus: int | None = None
    macs: int | None = None
    squares: int | None = None
    price_saved: float | None = None
    time_saved: float | None = None
    depth_saved: int | None = None
    depth: int | None = None
    shallower: bool = True
    harmless: float = 0.0
    params: int | None = None
    size_bytes: int | None = None


def conflicts(candidates: Sequence[Candidate]) -> list[tuple[int, ...]]:
    """Sets of candidates, by position, of which at most one may be taken.

    Candidates exclude each other when they replace the same node, or one of them a node of a layer that the other
    thins; those that thin the same layer do not. A merger up to a tensor and the removal of the
    activation that reads it make the same network as the merger of both, and exclude each other where that one is a
    candidate too.
    """
    at_node: dict[int, list[int]] = {}
    thinning: dict[int, dict[str, list[int]]] = {}
    for position, candidate in enumerate(candidates):
        for node in candidate.nodes:
            at_node.setdefault(node, []).append(position)
        for node in candidate.ends:
            thinning.setdefault(node, {}).setdefault(candidate.place, []).append(position)
    found = {tuple(positions) for positions in at_node.values() if len(positions) > 1}
    for node, places in thinning.items():
        found |= {tuple(sorted({*at_node[node], *positions})) for positions in places.values() if node in at_node}
    mergers = {(c.action, c.source, c.label, frozenset(c.sites)) for c in candidates if c.kind == "merger"}
    removals = [(n, c) for n, c in enumerate(candidates) if c.kind == "removal" and len(c.sites) == 1]
    for position, c in enumerate(candidates):
        for other, removal in removals:
            both = (c.action, c.source, c.label, frozenset({*c.sites, *removal.sites}))
            if c.output == removal.source and both in mergers:
                found.add((position, other))
    return sorted(found)


@dataclass(frozen=True, eq=False)
class Problem:
    """Which candidates to take.

    Attributes:
        candidates: what can be chosen.
        relus: ReLU count of the original.
        macs: multiply-adds of the original.
        layers: linear layers of the original.
        sites: activation sites of the original.
        budget: what has to be reached.
        pairs: places whose joint change does damage of its own.
        depth: depth of the network that a choice leaves; with it a budget's depth is looked at.
        params: parameters of the original.
        size_bytes: bytes of the original's file.
    """

    candidates: tuple[Candidate, ...]
    relus: int
    macs: int
    layers: int
    sites: int
    budget: Budget
    pairs: tuple[Pair, ...] = ()
    depth: Callable[[Sequence[Candidate]], int] | None = None
    params: int = 0
    size_bytes: int = 0
    _exclusions: list[tuple[int, ...]] = field(init=False, repr=False)
    _overlaps: list[Overlap] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exclusions", conflicts(self.candidates))
        object.__setattr__(self, "_overlaps", find_overlaps(self.candidates))

    def least_damage(
        self,
        damages: Mapping[str | Pair, float],
        tried: Collection[frozenset[str]] = (),
        near: frozenset[str] | None = None,
        roughly: bool = False,
    ) -> tuple[Candidate, ...] | None:
        """The plan of least total damage that is not among `tried`; None where no plan reaches the budget.

        Args:
            damages: by candidate key; and by pair, what changing both does beyond the sum.
            tried: plans to leave out, as sets of keys.
            near: a plan from which the result may differ in `NEIGHBOURHOOD` candidates at the most (local branching;
                Fischetti and Lodi, 2003).
            roughly: whether a plan near the least, found with little search, is enough.
        """
        row = self._damage_row(damages)
        return self._solve(row, [] if near is None else [self._near_row(near)], tried, roughly)

    def cheapest(
        self, damages: Mapping[str | Pair, float], most: float, tried: Collection[frozenset[str]] = ()
    ) -> tuple[Candidate, ...] | None:
        """The plan with the largest saving of multiply-adds and layers whose total damage is at most `most`."""
        damage = self._damage_row(damages)
        slack = 1e-3 / max(most, 1e-9)  # of plans that save the same, the one with less damage
        return self._solve(slack * self._padded(damage) - self._saving_row(), [(damage, -np.inf, most)], tried)

    def fewest(self, name: str) -> int:
        """The least that any plan leaves, whatever the damage, of what is counted under a name of `COUNTED`."""
        free, total = replace(self, budget=Budget(), pairs=()), self._total(name)
        chosen = free._solve(-free._saved_row(name) / max(total, 1), [], ())
        return total - saved(chosen or (), name)

    def least_depth(self) -> int:
        """The smallest depth that was found, whatever the damage; 0 where depth is not looked at."""
        free = replace(self, budget=Budget(), pairs=())
        return 0 if self.depth is None else self.depth(free._solve(-self._column("depth"), [], ()) or ())

    def most_saved(self) -> float:
        """The most that any plan saves of the price, whatever the damage."""
        free = replace(self, budget=Budget(), pairs=())
        column = self._column("price")
        chosen = free._solve(-column / max(float(np.abs(column).max(initial=0.0)), 1e-12), [], ())
        return sum(c.price for c in chosen or ())

    def _total(self, name: str) -> int:
        total: int = getattr(self, name)
        return total

    @property
    def limits(self) -> list[tuple[str, int, int]]:
        """What is counted and limited: its name, what the original has, and the most that is allowed."""
        allowed = ((name, getattr(self.budget, name)) for name in COUNTED)
        return [(name, self._total(name), most) for name, most in allowed if most is not None]

    def _column(self, name: str) -> NDArray[np.float64]:
        return np.array([getattr(c, name) for c in self.candidates], dtype=np.float64)

    def _saved_row(self, name: str) -> NDArray[np.float64]:
        """What is saved of what `name` counts: an entry a candidate, none a pair, and less for each overlap."""
        twice = [-overlap.shared(self.candidates, name) for overlap in self._overlaps]
        return np.array([*self._column(name), *[0.0] * len(self.pairs), *twice])

    def _damage_row(self, damages: Mapping[str | Pair, float]) -> NDArray[np.float64]:
        """One entry a candidate, then one a pair."""
        alone = [max(damages[c.key], 0.0) for c in self.candidates]
        return np.array([*alone, *(max(damages[pair], 0.0) for pair in self.pairs)])

    def _saving_row(self) -> NDArray[np.float64]:
        saving = self._padded(self._column("depth") / max(self.layers, 1))
        return saving + (self._saved_row("macs") / max(self.macs, 1) if self.budget.macs is not None else 0.0)

    def _near_row(self, plan: frozenset[str]) -> _Row:
        inside = np.array([c.key in plan for c in self.candidates])
        return np.where(inside, -1.0, 1.0), -np.inf, NEIGHBOURHOOD - float(inside.sum())

    def _solve(
        self,
        cost: NDArray[np.float64],
        extra: Sequence[_Row],
        tried: Collection[frozenset[str]],
        roughly: bool = False,
    ) -> tuple[Candidate, ...] | None:
        """The choice of least cost that keeps the budget in whole numbers and is not among `tried`.

        The solver works with tolerances, so a choice may miss a budget by a hair's breadth; it then counts as tried.
        """
        seen = set(tried)
        for _ in range(_MOST_REPEATS):
            chosen = self._solve_once(cost, extra, seen, roughly)
            if chosen is None or self.reached(chosen):
                return chosen
            seen.add(frozenset(c.key for c in chosen))
        return None

    def _solve_once(
        self,
        cost: NDArray[np.float64],
        extra: Sequence[_Row],
        tried: Collection[frozenset[str]],
        roughly: bool,
    ) -> tuple[Candidate, ...] | None:
        from scipy.optimize import Bounds, LinearConstraint, milp

        count = len(self.candidates)
        if count == 0:
            return () if self.reached(()) and frozenset() not in tried else None
        rows = [*extra, *self._budget_rows(), *self._exclusion_rows(), *self._pair_rows(), *self._tried_rows(tried)]
        first = count + len(self.pairs)
        rows += [row for n, each in enumerate(self._overlaps, first) for row in each.rows(self._width, n)]
        whole = np.array([1] * first + [0] * len(self._overlaps), dtype=np.int64)
        matrix = np.stack([self._padded(row) for row, _, _ in rows])
        with _silenced():
            result = milp(
                _well_scaled(self._padded(cost)),
                constraints=LinearConstraint(matrix, [low for _, low, _ in rows], [high for _, _, high in rows]),
                integrality=whole,
                bounds=Bounds(0, 1),
                options=(
                    {"mip_rel_gap": _ROUGH_GAP, "node_limit": _ROUGH_NODES} if roughly else {"mip_rel_gap": self._gap}
                ),
            )
        if result.x is None:
            return None
        return tuple(c for c, taken in zip(self.candidates, result.x[:count], strict=True) if taken > 0.5)

    @property
    def _gap(self) -> float:
        """How far from the least a plan may be."""
        limits = (self.budget.relus, self.budget.price_saved, self.budget.time_saved)
        limited = any(limit is not None for limit in limits) or bool(self._overlaps)
        partial = limited and any(c.kind == "partial" for c in self.candidates)
        return _PARTIAL_GAP if partial else 0.0

    @property
    def _width(self) -> int:
        """How many unknowns there are: candidates, pairs, overlaps."""
        return len(self.candidates) + len(self.pairs) + len(self._overlaps)

    def _padded(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """`row` with a zero for each pair and overlap that it has no entry for."""
        return np.pad(row, (0, self._width - len(row)))

    def reached(self, chosen: Sequence[Candidate]) -> bool:
        """Whether `chosen` keeps the budget, in whole numbers."""
        within = all(total - saved(chosen, name) <= most for name, total, most in self.limits)
        within &= self.budget.squares is None or sum(c.squares for c in chosen) <= self.budget.squares
        least = self.budget.depth_saved
        shallow = least is None or sum(c.depth for c in chosen) >= least
        if self.depth is not None and self.budget.depth is not None and self.depth(chosen) > self.budget.depth:
            return False
        if self.budget.price_saved is not None and sum(c.price for c in chosen) < self.budget.price_saved:
            return False
        if self.budget.time_saved is not None and sum(c.time for c in chosen) < self.budget.time_saved:
            return False
        return within and shallow

    def _budget_rows(self) -> list[_Row]:
        rows: list[_Row] = [(np.array([float(c.removed) for c in self.candidates]), 0, self.sites - 1)]
        if self.budget.squares is not None:
            rows.append((self._column("squares"), -np.inf, self.budget.squares))
        if self.budget.price_saved:
            rows.append((self._column("price") / self.budget.price_saved, 1.0, np.inf))
        if self.budget.time_saved:
            rows.append((self._column("time") / self.budget.time_saved, 1.0, np.inf))
        if self.budget.depth_saved is not None:
            rows.append((self._column("depth"), self.budget.depth_saved, np.inf))
        if self.budget.depth is not None and self.depth is not None:
            rows.append((self._column("depth"), self.depth(()) - self.budget.depth, np.inf))
        for name, total, allowed in self.limits:
            column = self._column(name)
            if self._overlaps:
                rows.append((self._saved_row(name) / max(total, 1), (total - allowed) / max(total, 1), np.inf))
                continue
            unit = max(int(np.gcd.reduce(column.astype(np.int64))), 1)
            rows.append((column / unit, np.ceil((total - allowed) / unit), np.inf))
        return rows

    def _exclusion_rows(self) -> list[_Row]:
        rows: list[_Row] = []
        for group in self._exclusions:
            row = np.zeros(len(self.candidates))
            row[list(group)] = 1
            rows.append((row, 0, 1))
        return rows

    def _pair_rows(self) -> list[_Row]:
        rows: list[_Row] = []
        places = [c.place for c in self.candidates]
        for position, pair in enumerate(self.pairs):
            row = self._padded(np.array([float(place in pair) for place in places]))
            row[len(self.candidates) + position] = -1.0
            rows.append((row, -np.inf, 1.0))
        return rows

    def _tried_rows(self, tried: Collection[frozenset[str]]) -> list[_Row]:
        rows: list[_Row] = []
        keys = [c.key for c in self.candidates]
        for plan in tried:
            inside = [key in plan for key in keys]
            row = np.where(inside, 1.0, -1.0)
            rows.append((row, -np.inf, sum(inside) - 1.0))
        return rows


def _well_scaled(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """`cost` times a factor that lifts its small entries over the solver's absolute gap of 1e-6.

    Among equals the earlier candidate wins.
    """
    sizes = np.abs(cost[cost != 0])
    if sizes.size:
        cost = cost / max(float(sizes.min()), float(sizes.max()) * 1e-6)
    return cost + 1e-4 * np.arange(1, len(cost) + 1) / len(cost)


@contextmanager
def _silenced() -> Iterator[None]:
    """HiGHS prints notes about itself to the process's stdout, where scripts read results.

    C keeps what it prints until there is enough of it, so it is made to let go of it on both sides.
    """
    _flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _flush() -> None:
    sys.stdout.flush()
    with suppress(OSError, AttributeError, TypeError):  # on Windows the process's own C library cannot be named so
        ctypes.CDLL(None).fflush(None)
