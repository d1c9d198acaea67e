"""What several candidates of a plan save twice, and so save once.

A layer that loses a part a of its inputs and a part b of its outputs does (1 - a)(1 - b) of its work: of the sum
a + b the product is counted twice. The integer program has a number z for each pair of places that share a layer,

    z >= a_i sum b_j x_j - a_i max b (1 - x_i)        for each candidate i of the first place

so that z is at least the product of the two parts that are taken, and takes it off what the plan saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.actions.base import Candidate

__all__ = ["Overlap", "find_overlaps", "saved"]


def saved(chosen: Sequence[Candidate], name: str) -> int:
    """What candidates save together of what `name` counts: the field of that name, what is saved twice once."""
    total: int = sum(getattr(c, name) for c in chosen)
    thin = [c for c in chosen if c.thinned]
    return total - sum(one.twice(other, name) for n, one in enumerate(thin) for other in thin[:n])


@dataclass(frozen=True, eq=False)
class Overlap:
    """Two places that thin the same layers.

    Attributes:
        first: positions of the candidates of one.
        second: of the other.
        parts: of each of these, which part of the layers it takes, by position.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    parts: dict[int, float]

    def shared(self, candidates: Sequence[Candidate], name: str) -> float:
        """What is saved twice if both took all."""
        one, two = self.first[-1], self.second[-1]
        product = self.parts[one] * self.parts[two]
        return candidates[one].twice(candidates[two], name) / product

    def rows(self, size: int, own: int) -> list[tuple[NDArray[np.float64], float, float]]:
        """The constraints on z, which stands at the position `own` of rows of a size."""
        most = max(self.parts[j] for j in self.second)
        made = []
        for i in self.first:
            row = np.zeros(size)
            for j in self.second:
                row[j] = self.parts[i] * self.parts[j]
            row[i], row[own] = self.parts[i] * most, -1.0
            made.append((row, -np.inf, self.parts[i] * most))
        return made


def find_overlaps(candidates: Sequence[Candidate]) -> list[Overlap]:
    """All pairs of places that thin the same layers."""
    places: dict[str, list[int]] = {}
    for position, candidate in enumerate(candidates):
        if candidate.thinned:
            places.setdefault(candidate.place, []).append(position)
    groups = list(places.values())
    found = []
    for number, second in enumerate(groups):
        for first in groups[:number]:
            common = _common(candidates[first[0]], candidates[second[0]])
            if common is not None:
                parts = {n: _part(candidates[n], common) for n in (*first, *second)}
                found.append(Overlap(tuple(first), tuple(second), parts))
    return found


def _common(one: Candidate, other: Candidate) -> frozenset[int] | None:
    """The nodes of a layer that both thin."""
    if one.excludes(other):
        return None
    theirs = {layer.nodes for layer in other.thinned}
    return next((layer.nodes for layer in one.thinned if layer.nodes in theirs), None)


def _part(candidate: Candidate, nodes: frozenset[int]) -> float:
    return next(layer.part for layer in candidate.thinned if layer.nodes == nodes)
