import itertools
from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.mask import Mask
from onnxshallow.analysis import NotLinearError, analyze
from tests.networks import chain, residual, some_statistics

CHANNEL, PIXEL = FindOptions(granularity="channel"), FindOptions(granularity="pixel")


def test_nothing_is_kept_in_part_unless_it_is_asked_for():
    assert Mask().find(analyze(residual()), FindOptions(polynomials=True)).candidates == ()
    assert not Mask().find(analyze(residual()), FindOptions()).refusals


def test_channels_are_kept_in_a_handful_of_shares():
    found = Mask().find(analyze(residual()), CHANNEL)
    assert not found.refusals
    assert [c.kept for c in found.candidates if c.output == "r1"] == [1, 2, 3, 4, 5]
    assert {c.output for c in found.candidates} == {"r0", "r1", "r2", "r3", "r4"}


def test_pixels_are_kept_in_the_same_shares_of_the_elements():
    found = Mask().find(analyze(chain()), PIXEL)
    assert [c.kept for c in found.candidates] == [40, 80, 120, 160, 200, 240, 280]
    assert [c.relus for c in found.candidates] == [280, 240, 200, 160, 120, 80, 40]


def statistics_with(left):
    analysis = analyze(chain())
    found = some_statistics(analysis)["r"]
    return analysis, {"r": replace(found, affine_error=np.array(left))}


@pytest.mark.parametrize(
    ("left", "extra"), [([1, 2, 0, 3, 1e-12], [3]), ([1, 2, 3, 4, 5], []), ([0, 0, 0, 0, 0], [0])]
)
def test_channels_that_lose_nothing_make_a_candidate_of_their_own(left, extra):
    analysis, statistics = statistics_with(left)
    usual = [c.kept for c in Mask().find(analysis, CHANNEL).candidates]
    found = [c.kept for c in Mask().find(analysis, replace(CHANNEL, statistics=statistics)).candidates]
    assert found == sorted({*usual, *extra})


def test_a_reason_is_given_for_each_site_that_cannot_be_kept_in_part():
    model = chain()
    model.opset_import[0].version = 8
    found = Mask().find(analyze(model), CHANNEL)
    assert found.candidates == ()
    assert found.refusals["r"].startswith("opset 8 is older than 9")


def test_every_size_is_listed_for_plans_by_hand():
    found = Mask().find(analyze(chain()), replace(CHANNEL, every_size=True))
    assert [c.kept for c in found.candidates] == [0, 1, 2, 3, 4]


def partial_of(analysis, options, kept, statistics=None):
    chosen = [c for c in Mask().find(analysis, options).candidates if c.kept == kept]
    (partial,) = apply_candidates(analysis, chosen, statistics or some_statistics(analysis)).partials
    return partial


def test_what_the_line_explains_least_is_kept():
    analysis, statistics = statistics_with([1e3, 0, 1e3, 0, 0])
    every = replace(CHANNEL, every_size=True)
    assert partial_of(analysis, every, 2, statistics).kept.tolist() == [True, False, True, False, False]


def test_larger_sets_hold_the_smaller_ones():
    analysis, every = analyze(chain()), replace(CHANNEL, every_size=True)
    sets = [partial_of(analysis, every, kept).kept for kept in range(5)]
    assert [int(kept.sum()) for kept in sets] == [0, 1, 2, 3, 4]
    for smaller, larger in itertools.pairwise(sets):
        assert np.all(larger[smaller])


def test_pixels_are_kept_by_their_own_errors():
    analysis = analyze(chain())
    statistics = some_statistics(analysis)
    left = np.zeros((5, 8, 8))
    left[2, 3:7, 1:8], left[4, 0, :] = 1e6, 1e6
    pixels = replace(statistics["r"].pixels, affine_error=left)
    found = partial_of(analysis, PIXEL, 40, {"r": replace(statistics["r"], pixels=pixels)})
    assert found.kept.shape == (5, 8, 8)
    assert found.kept.sum() == 40
    assert np.all(found.kept[left > 0])


def test_elements_that_were_not_measured_are_an_error():
    analysis = analyze(chain())
    statistics = {"r": replace(some_statistics(analysis)["r"], pixels=None)}
    with pytest.raises(NotLinearError, match="not measured; use --granularity pixel"):
        partial_of(analysis, PIXEL, 40, statistics)
