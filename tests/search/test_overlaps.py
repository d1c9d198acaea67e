"""What is saved once, though several candidates save it."""

import itertools

import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose
from onnxshallow.actions.prune import Prune
from onnxshallow.analysis import analyze
from onnxshallow.search.overlaps import find_overlaps, saved
from onnxshallow.search.solver import Budget, Problem, conflicts
from tests.networks import build


def three():
    """Four layers and the three streams between them."""
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) "
        "c = Conv<pads=[1,1,1,1]>(b, v) d = Relu(c) e = Conv<pads=[1,1,1,1]>(d, u) f = Relu(e) y = Conv(f, t) }",
        w=(8, 3, 3, 3),
        v=(16, 8, 3, 3),
        u=(8, 16, 3, 3),
        t=(4, 8, 1, 1),
    )
    return analyze(model)


def candidates_of(analysis, **options):
    return Prune().find(analysis, FindOptions(narrower=True, **options)).candidates


def choices(candidates):
    """Every choice of at most one candidate a place."""
    places = {}
    for candidate in candidates:
        places.setdefault(candidate.place, [None]).append(candidate)
    for chosen in itertools.product(*places.values()):
        yield tuple(c for c in chosen if c is not None)


def test_a_layer_between_two_narrower_streams_saves_the_product_once():
    analysis = three()
    first, second = (next(c for c in candidates_of(analysis) if c.output == name) for name in "ac")
    inner = next(layer for layer in first.thinned if layer.nodes in {one.nodes for one in second.thinned})
    both = inner.macs * (first.width - first.kept) * (second.width - second.kept) / first.width / second.width
    assert first.twice(second, "macs") == second.twice(first, "macs") == round(both)
    assert first.twice(second, "relus") == 0
    assert saved([first, second], "macs") == first.macs + second.macs - round(both)
    assert saved([first, second], "relus") == first.relus + second.relus
    assert 4 * first.twice(second, "params") == first.twice(second, "size_bytes")


def test_neighbours_overlap_and_others_do_not():
    candidates = candidates_of(three())
    pairs = [
        {candidates[each.first[0]].output, candidates[each.second[0]].output} for each in find_overlaps(candidates)
    ]
    assert pairs == [{"a", "c"}, {"c", "e"}]


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3, 0.1])
def test_the_program_finds_the_best_of_all_choices(share):
    analysis = three()
    candidates = [c for c in candidates_of(analysis) if c.kept in (2, 4, 6, 12)]
    random = np.random.default_rng(int(100 * share))
    damages = {c.key: float((1 - c.kept / c.width) ** 2 * random.uniform(0.5, 2)) for c in candidates}
    most = int(share * analysis.cost.macs)
    problem = Problem(tuple(candidates), analysis.cost.relus, analysis.cost.macs, 4, 3, Budget(macs=most))
    found = problem.least_damage(damages)
    usable = [c for c in choices(candidates) if analysis.cost.macs - saved(c, "macs") <= most]
    least = min(sum(damages[c.key] for c in chosen) for chosen in usable)
    assert analysis.cost.macs - saved(found, "macs") <= most
    assert sum(damages[c.key] for c in found) <= 1.01 * least
    fewest = min(analysis.cost.macs - saved(chosen, "macs") for chosen in choices(candidates))
    assert problem.fewest("macs") == fewest


def test_what_replaces_a_layer_that_loses_channels_is_excluded():
    analysis = three()
    narrower = candidates_of(analysis)
    splits = Decompose().find(analysis, FindOptions(deeper=True)).candidates
    every = (*narrower, *splits)
    together = {frozenset(pair) for group in conflicts(every) for pair in itertools.combinations(group, 2)}
    for (n, one), (m, other) in itertools.combinations(enumerate(every), 2):
        assert (frozenset((n, m)) in together) == (one.place == other.place or one.excludes(other))
    assert any(one.excludes(other) for one in narrower for other in splits)
    first, second = (next(c for c in narrower if c.output == name) for name in "ac")
    assert not first.excludes(second)


def test_candidates_that_thin_nothing_just_add_up():
    splits = Decompose().find(three(), FindOptions(deeper=True)).candidates
    assert find_overlaps(splits) == []
    assert saved(splits, "macs") == sum(c.macs for c in splits)
