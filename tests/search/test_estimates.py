import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose, Split
from onnxshallow.actions.fuse import Fuse, Merger
from onnxshallow.actions.linearize import Linearize, Removal
from onnxshallow.actions.partial import InPart
from onnxshallow.actions.prune import Narrow
from onnxshallow.analysis import analyze
from onnxshallow.search.estimates import estimated_damages, first_look, interactions
from tests.networks import residual

ORDER = {name: position for position, name in enumerate("abcdefgh")}


def fuse(sites, *sizes):
    """Mergers over a run of sites, one a kernel size."""
    return [Merger("fuse", tuple(sites), f"{sites}.in", f"{sites}.out", kernel=(k, k)) for k in sizes]


def remove(site):
    return Removal("linearize", (site,), f"{site}.in", f"{site}.out")


def splits(layer, *ranks):
    return [Split("decompose", (), f"{layer}.in", f"{layer}.out", rank=rank) for rank in ranks]


def damages(candidates, *values):
    return {candidate.key: value for candidate, value in zip(candidates, values, strict=True)}


def every_candidate():
    analysis, options = analyze(residual()), FindOptions(deeper=True)
    return [c for action in (Decompose(), Fuse(), Linearize()) for c in action.find(analysis, options).candidates]


# What is measured at first.


def test_the_middle_size_of_a_place_is_looked_at_first():
    assert first_look(fuse("a", 5, 1, 3)) == fuse("a", 3)
    assert first_look(splits("h", 8, 6, 4)) == splits("h", 6)


def test_of_two_sizes_the_larger_is_looked_at_first():
    assert first_look(fuse("a", 1, 3)) == fuse("a", 3)
    assert first_look(splits("h", 8, 4)) == splits("h", 8)


def test_a_single_candidate_is_looked_at_first():
    gemm = Merger("fuse", ("a",), "x", "y", kernel=())
    assert first_look([remove("a"), gemm]) == [remove("a"), gemm]


def test_runs_of_several_sites_wait():
    assert first_look([*fuse("ab", 1, 3, 5), remove("a")]) == [remove("a")]


def test_a_stream_of_several_sites_that_stay_is_looked_at_first():
    kept = {"sites": ("a", "b"), "source": "x", "output": "y", "width": 16}
    found = [Narrow("prune", kept=count, **kept) for count in (4, 8, 12)]
    assert first_look(found) == [found[1]]
    damages = estimated_damages(found, {found[1].key: 0.4})
    assert [round(damages[c.key], 3) for c in found] == [0.6, 0.4, 0.1]


def test_every_place_is_looked_at_whatever_is_done_there():
    candidates = every_candidate()
    looked = first_look(candidates)
    places = [(c.action, c.source, c.output) for c in candidates if len(c.sites) <= 1]
    assert [(c.action, c.source, c.output) for c in looked] == list(dict.fromkeys(places))
    assert len(looked) < len(candidates) / 2


def test_nothing_is_looked_at_where_nothing_is_possible():
    assert first_look([]) == []
    assert estimated_damages([], {}) == {}
    assert interactions([], {}, {}) == {}


# What the others may do.


def test_what_was_measured_stands():
    candidates = [*fuse("a", 1, 3, 5), remove("b"), *splits("h", 8, 4)]
    known = damages(candidates, 0.3, 0.1, 0.4, 0.0, 2.0, 0.5)
    assert estimated_damages(candidates, known) == known


def test_every_candidate_has_an_estimate():
    candidates = every_candidate()
    known = {c.key: 0.1 for c in first_look(candidates)}
    estimates = estimated_damages(candidates, known)
    assert set(estimates) == {c.key for c in candidates}
    assert all(np.isfinite(value) and value > 0 for value in estimates.values())


def test_another_kernel_size_does_less_the_larger_it_is():
    small, middle, large = fuse("a", 1, 3, 5)
    estimates = estimated_damages([small, middle, large], {middle.key: 0.2})
    assert estimates[small.key] == pytest.approx(0.2 * 9**0.4)
    assert estimates[large.key] == pytest.approx(0.2 * (9 / 25) ** 0.4)


def test_another_rank_does_less_the_larger_it_is():
    large, middle, small = splits("h", 8, 6, 4)
    estimates = estimated_damages([large, middle, small], {middle.key: 0.2})
    assert estimates[large.key] == pytest.approx(0.2 * (6 / 8) ** 2)
    assert estimates[small.key] == pytest.approx(0.2 * (6 / 4) ** 2)


def test_of_several_measured_sizes_the_nearest_is_taken():
    small, middle, large = fuse("a", 1, 3, 5)
    estimates = estimated_damages([small, middle, large], {small.key: 0.9, large.key: 0.1})
    assert estimates[middle.key] == pytest.approx(0.1 * (25 / 9) ** 0.4)  # 9 is nearer to 25 than to 1 by ratio


def test_what_was_measured_at_another_place_says_nothing_of_a_size():
    candidates = [*fuse("a", 3, 5), *fuse("b", 3, 5)]
    estimates = estimated_damages(candidates, damages(candidates[:3], 0.2, 0.1, 0.7))
    assert estimates[candidates[3].key] == pytest.approx(0.7 * (9 / 25) ** 0.4)


def test_a_run_of_several_sites_does_what_its_sites_do_at_least():
    run = fuse("ab", 1, 3, 5)
    singles = [remove("a"), *fuse("a", 3), remove("b")]
    estimates = estimated_damages([*run, *singles], damages(singles, 0.3, 0.2, 0.05))
    assert estimates[run[1].key] == pytest.approx(0.2 + 0.05)
    assert estimates[run[0].key] == pytest.approx(0.25 * 9**0.4)
    assert estimates[run[2].key] == pytest.approx(0.25 * (9 / 25) ** 0.4)


def test_a_run_that_was_measured_at_one_size_counts_with_that():
    run = fuse("ab", 1, 3, 5)
    singles = [remove("a"), remove("b")]
    estimates = estimated_damages([*run, *singles], damages([*singles, run[1]], 0.3, 0.2, 0.8))
    assert estimates[run[2].key] == pytest.approx(0.8 * (9 / 25) ** 0.4)


def test_runs_say_nothing_of_their_parts():
    (long,), (short,) = fuse("abc", 3), fuse("ab", 3)
    known = damages([long, remove("a"), remove("b")], 0.9, 0.1, 0.2)
    assert estimated_damages([long, short, remove("a"), remove("b")], known)[short.key] == pytest.approx(0.3)


def test_a_site_that_was_not_measured_is_taken_to_do_nothing():
    (run,) = fuse("ab", 3)
    assert estimated_damages([run, remove("a"), remove("b")], {remove("a").key: 0.1})[run.key] == pytest.approx(0.1)
    assert estimated_damages([run], {})[run.key] == 0


def test_a_negative_damage_of_a_site_counts_as_none():
    (run,) = fuse("ab", 3)
    known = damages([remove("a"), remove("b")], -0.5, 0.2)
    assert estimated_damages([run, remove("a"), remove("b")], known)[run.key] == pytest.approx(0.2)


@given(st.lists(st.floats(0, 10), min_size=8, max_size=8), st.sets(st.integers(0, 7)))
def test_estimates_grow_with_what_was_measured(values, measured):
    candidates = [*fuse("a", 1, 3, 5), remove("b"), *fuse("b", 3, 5), *splits("h", 8, 4)]
    known = {candidates[i].key: values[i] for i in measured}
    everything = [*candidates, *fuse("ab", 1, 3, 5)]
    estimates, higher = (
        estimated_damages(everything, known),
        estimated_damages(everything, {k: v + 1 for k, v in known.items()}),
    )
    assert all(higher[key] >= estimates[key] >= 0 for key in estimates)


@given(st.lists(st.floats(0.01, 10), min_size=5, max_size=5))
def test_what_is_measured_later_never_changes_what_was_measured_before(values):
    candidates = [*fuse("ab", 1, 3, 5), remove("a"), remove("b")]
    for count in range(6):
        known = damages(candidates[:count], *values[:count])
        assert known.items() <= estimated_damages(candidates, known).items()


# Neighbours.


def places(*candidates):
    return tuple(candidate.place for candidate in candidates)


def test_sizes_and_ranks_share_a_place_and_actions_do_not():
    assert len(set(places(*fuse("a", 1, 3, 5)))) == 1
    assert len(set(places(*splits("h", 8, 4)))) == 1
    assert len(set(places(*fuse("a", 3), *fuse("b", 3), remove("a")))) == 3


def test_two_neighbours_do_the_root_of_their_product_more():
    candidates = [remove("a"), remove("b")]
    found = interactions(candidates, damages(candidates, 0.1, 0.4), ORDER)
    assert found == {places(*candidates): pytest.approx(0.2)}


def test_neighbours_are_at_most_two_sites_apart():
    candidates = [remove(site) for site in "abcdefgh"]
    found = interactions(candidates, {c.key: 0.1 for c in candidates}, ORDER)
    pairs = itertools.combinations(range(8), 2)
    assert set(found) == {places(candidates[i], candidates[j]) for i, j in pairs if j - i <= 2}


def test_pairs_are_in_graph_order_whatever_that_of_the_candidates():
    candidates = [remove("b"), remove("a")]
    (pair,) = interactions(candidates, damages(candidates, 0.1, 0.4), ORDER)
    assert pair == places(remove("a"), remove("b"))


def test_runs_of_several_sites_have_no_neighbours():
    candidates = [*fuse("bcd", 3), *fuse("fg", 3), remove("a"), remove("e")]
    assert interactions(candidates, {c.key: 0.1 for c in candidates}, ORDER) == {}


def test_changes_of_the_same_sites_are_no_neighbours():
    candidates = [*fuse("ab", 3), remove("a"), remove("b"), *fuse("b", 3)]
    found = interactions(candidates, {c.key: 0.1 for c in candidates}, ORDER)
    assert set(found) == {places(remove("a"), remove("b")), places(remove("a"), *fuse("b", 3))}


def test_of_the_sizes_of_a_place_the_least_damage_counts():
    candidates = [*fuse("a", 1, 3, 5), remove("b")]
    found = interactions(candidates, damages(candidates, 0.9, 0.4, 0.1, 0.1), ORDER)
    assert found == {places(candidates[0], candidates[3]): pytest.approx(0.1)}


def test_splits_remove_no_site_and_have_no_neighbours():
    candidates = [*splits("h", 8, 4), remove("a")]
    assert interactions(candidates, {c.key: 0.1 for c in candidates}, ORDER) == {}


def test_a_place_that_does_no_damage_adds_none():
    candidates = [remove("a"), remove("b"), remove("c")]
    found = interactions(candidates, damages(candidates, 0.0, 0.4, -0.1), ORDER)
    assert all(value == 0 for value in found.values())


@given(st.lists(st.floats(0, 10), min_size=4, max_size=4))
def test_together_two_do_no_more_than_errors_of_equal_shape(values):
    candidates = [remove(site) for site in "abcd"]
    alone = {c.place: value for c, value in zip(candidates, values, strict=True)}
    for (one, other), more in interactions(candidates, damages(candidates, *values), ORDER).items():
        worst = (np.sqrt(alone[one]) + np.sqrt(alone[other])) ** 2
        assert 0 <= alone[one] + alone[other] + more <= worst + 1e-9


# What stays in part.


def masks(site, size, *kept, action="mask"):
    return [InPart(action, (site,), f"{site}.in", f"{site}.out", relus=size - count, kept=count) for count in kept]


def test_of_the_masks_of_a_site_the_middle_one_is_looked_at_first():
    found = masks("a", 64, 8, 16, 32, 48, 56)
    assert first_look(found) == [found[2]]
    assert first_look([*found, *masks("a", 64, 0, 8, 16, action="quadratic"), remove("a")])[1:] == [
        masks("a", 64, 8, action="quadratic")[0],
        remove("a"),
    ]


def test_masks_are_estimated_rather_too_good_than_too_bad():
    found = masks("a", 64, 8, 32, 56)
    estimates = estimated_damages(found, {found[1].key: 0.2})
    assert estimates[found[0].key] == pytest.approx(0.2 * 56 / 32)
    assert estimates[found[2].key] == pytest.approx(0.2 * (8 / 32) ** 2)


def test_the_mask_that_is_nearest_by_what_goes_is_taken():
    found = masks("a", 64, 8, 40, 56)
    estimates = estimated_damages(found, {found[0].key: 0.9, found[2].key: 0.05})
    assert estimates[found[1].key] == pytest.approx(0.9 * (24 / 56) ** 2)  # 24 is nearer to 56 than to 8 by ratio


def test_parabolas_and_masks_of_a_site_are_estimated_apart():
    found, parabolas = masks("a", 64, 8, 32), masks("a", 64, 0, 32, action="quadratic")
    estimates = estimated_damages([*found, *parabolas], {found[1].key: 0.2, parabolas[1].key: 0.01})
    assert estimates[parabolas[0].key] == pytest.approx(0.01 * 64 / 32)


def test_masks_say_nothing_of_what_runs_of_sites_do():
    run = fuse("ab", 3)
    estimates = estimated_damages([*run, *masks("a", 64, 32), remove("a"), remove("b")], {
        masks("a", 64, 32)[0].key: 0.01, remove("a").key: 0.3, remove("b").key: 0.2
    })  # fmt: skip
    assert estimates[run[0].key] == pytest.approx(0.5)


def test_only_what_goes_as_a_whole_makes_pairs():
    order = {"a": 0, "b": 1}
    candidates = [*masks("a", 64, 32), remove("b")]
    assert interactions(candidates, damages(candidates, 0.3, 0.2), order) == {}
    candidates = [remove("a"), remove("b")]
    assert len(interactions(candidates, damages(candidates, 0.3, 0.2), order)) == 1


def test_the_damage_of_a_split_grows_with_what_its_weights_lack():
    near, middle, far = (replace(c, left=left) for c, left in zip(splits("h", 8, 6, 4), (0.2, 0.4, 0.8), strict=True))
    estimates = estimated_damages([near, middle, far], {middle.key: 0.2})
    assert estimates[near.key] == pytest.approx(0.2 * 0.5**3.5)
    assert estimates[far.key] == pytest.approx(0.2 * 2**3.5)
