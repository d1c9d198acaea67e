"""What candidates that were not measured may do, so that most need not be.

Networks have hundreds of candidates, and a plan uses a few. One candidate of each place is measured at first; for
the others there is an estimate, rather too good than too bad:

    another one at a place     the measured one's damage times (its capacity / this one's)^p; what capacity is, and p,
                               the action says: a kernel's taps, a rank, how few activations go
    a run of several sites     that all go: the sum over its sites of the least damage that was measured there;
                               measured runs have done more than their parts in every network tried

What the best plan by these numbers contains is measured next, until it contains nothing unmeasured.

Damages do not add up: errors that two places make close to each other look alike, and amplitudes add where squares
were measured. Errors of equal shape would do d1 + d2 + 2 sqrt(d1 d2) together, errors that have nothing in common
d1 + d2. Pairs that were measured lie about halfway (docs/decisions/plans-compete.md), so each pair of neighbours in a
plan counts sqrt(d1 d2) more.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from onnxshallow.actions.base import Candidate

__all__ = ["Pair", "estimated_damages", "first_look", "interactions"]

Pair = tuple[str, str]
"""Two places, in graph order."""

# Changes whose sites are no further apart than this, counted in sites, are neighbours.
_REACH = 2


def first_look(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates to measure in any case: the middle one of each place, but for runs of several sites."""
    groups = _by_place(candidates)
    return [_middle(group) for group in groups.values() if len(group[0].sites) <= 1 or not group[0].whole]


def estimated_damages(candidates: Sequence[Candidate], damages: Mapping[str, float]) -> dict[str, float]:
    """The damage of each candidate by key: measured, or estimated from `damages`."""
    least = _least_by_site(candidates, damages)
    found: dict[str, float] = {}
    for group in _by_place(candidates).values():
        known = [c for c in group if c.key in damages]
        for candidate in group:
            if candidate.key in damages:
                found[candidate.key] = damages[candidate.key]
                continue
            if known:
                nearest = min(known, key=lambda c: abs(np.log(c.capacity / candidate.capacity)))
                start = damages[nearest.key]
            else:
                nearest = _middle(group)
                start = sum(least.get(site, 0.0) for site in candidate.sites)
            found[candidate.key] = start * float((nearest.capacity / candidate.capacity) ** candidate.power(nearest))
    return found


def interactions(
    candidates: Sequence[Candidate], damages: Mapping[str, float], order: Mapping[str, int]
) -> dict[Pair, float]:
    """What changing both of two neighbouring places does beyond the sum of their damages.

    Runs of several sites are left out: there are many, and no rule was found for them.

    Args:
        candidates: what can be chosen.
        damages: of each of them, by key.
        order: position of each site in the graph, by its name.
    """
    places = []
    for place, group in _by_place(candidates).items():
        if len(group[0].sites) == 1 and group[0].kind != "partial":
            places.append((place, order[group[0].sites[0]], min(max(damages[c.key], 0.0) for c in group)))
    return {
        (first, second): float(np.sqrt(one * other))
        for first, before, one in places
        for second, after, other in places
        if 0 < after - before <= _REACH
    }


def _least_by_site(candidates: Sequence[Candidate], damages: Mapping[str, float]) -> dict[str, float]:
    least: dict[str, float] = {}
    for candidate in candidates:
        if candidate.removed == 1 and candidate.key in damages:
            site, damage = candidate.sites[0], max(damages[candidate.key], 0.0)
            least[site] = min(damage, least.get(site, damage))
    return least


def _by_place(candidates: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.place, []).append(candidate)
    return groups


def _middle(group: Sequence[Candidate]) -> Candidate:
    return sorted(group, key=lambda c: c.capacity)[len(group) // 2]
