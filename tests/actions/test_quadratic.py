import itertools
from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.quadratic import Quadratic
from onnxshallow.analysis import analyze
from onnxshallow.fitting.parabolas import trusted
from tests.networks import build, chain, residual, some_statistics

WHOLE = FindOptions(polynomials=True)


def find(model, options=WHOLE):
    return Quadratic().find(analyze(model), options)


def test_nothing_becomes_a_parabola_unless_it_is_asked_for():
    assert find(residual(), FindOptions(granularity="channel")).candidates == ()
    assert not find(residual(), FindOptions()).refusals


def test_whole_sites_become_parabolas_where_sites_go_as_a_whole():
    found = find(chain()).candidates
    assert [(c.key, c.relus, c.squares) for c in found] == [("quadratic:kept0:h->r", 320, 320)]
    assert found[0].removed == 0


@pytest.mark.parametrize("granularity", ["channel", "pixel"])
def test_some_channels_may_be_kept_where_that_is_asked_for(granularity):
    found = find(chain(), replace(WHOLE, granularity=granularity)).candidates
    assert [(c.kept, c.squares) for c in found] == [(0, 320), (1, 256), (2, 192), (3, 128), (4, 64)]
    assert not any(c.pixels for c in found)


def test_every_size_is_listed_for_plans_by_hand():
    assert [c.kept for c in find(chain(), replace(WHOLE, every_size=True)).candidates] == [0, 1, 2, 3, 4]


def curved(bends):
    """Statistics of a chain in which a parabola may take the place of some of the channels."""
    analysis = analyze(chain())
    found = some_statistics(analysis)["r"]
    left = np.ones(5)
    statistics = {"r": replace(found, affine_error=left, quadratic_error=np.where(bends, 0.1, 1.0))}
    assert trusted(statistics["r"]).tolist() == list(bends)
    return analysis, statistics


def test_a_site_is_refused_where_no_parabola_can_be_trusted():
    analysis, statistics = curved([False] * 5)
    found = Quadratic().find(analysis, replace(WHOLE, statistics=statistics))
    assert found.candidates == ()
    assert found.refusals == {
        "r": "no parabola of its channels that stays in bounds explains more than an affine map"
    }


def test_a_site_with_one_trusted_parabola_is_a_candidate():
    analysis, statistics = curved([False, True, False, False, False])
    assert len(Quadratic().find(analysis, replace(WHOLE, statistics=statistics)).candidates) == 1


def test_a_site_is_refused_for_the_reasons_of_masks_too():
    model = chain()
    model.opset_import[0].version = 8
    assert find(model).refusals["r"].startswith("opset 8 is older than 9")


def partial_of(analysis, statistics, kept):
    every = replace(WHOLE, every_size=True)
    chosen = [c for c in Quadratic().find(analysis, every).candidates if c.kept == kept]
    (partial,) = apply_candidates(analysis, chosen, statistics).partials
    return partial


def test_channels_that_no_parabola_serves_become_affine():
    analysis, statistics = curved([True, False, True, False, True])
    found = partial_of(analysis, statistics, 0)
    assert found.squared.tolist() == [True, False, True, False, True]
    assert found.passed.tolist() == [False, True, False, True, False]  # the layer before makes the map
    curve = statistics["r"].parabola
    for name in ("square", "linear", "constant"):
        np.testing.assert_array_equal(getattr(found, name)[::2], getattr(curve, name)[::2])


def test_where_no_layer_can_make_the_affine_map_the_activation_does_scale_and_shift_included():
    text = """(float[N,3,8,8] x) => (float[N,5,8,8] y) {
        h = Conv<pads=[1,1,1,1]>(x, w1)
        r = Relu(h)
        y = Sub(r, h)
    }"""
    analysis, (_, statistics) = analyze(build(text, w1=(5, 3, 3, 3))), curved([True, False, True, False, True])
    found = partial_of(analysis, statistics, 0)
    assert found.squared.tolist() == [True, False, True, False, True]
    assert np.all(statistics["r"].shift[1::2] != 0)
    np.testing.assert_array_equal(found.linear[1::2], statistics["r"].scale[1::2])
    np.testing.assert_array_equal(found.constant[1::2], statistics["r"].shift[1::2])


def test_what_neither_map_explains_is_kept():
    """An untrusted parabola does not count, however little it leaves."""
    analysis, statistics = curved([True, True, True, True, False])
    statistics = {
        "r": replace(statistics["r"], affine_error=np.array([1.0, 1, 1, 1, 1e4]), quadratic_error=np.full(5, 0.1))
    }
    flat = replace(statistics["r"].parabola, square=np.array([0.3, 0.3, 0.3, 0.3, 0.0]))
    untrusted = replace(statistics["r"], parabola=flat)
    found = partial_of(analysis, {"r": untrusted}, 1)
    assert found.kept.tolist() == [False, False, False, False, True]
    assert found.squared.tolist() == [True, True, True, True, False]


def test_larger_sets_hold_the_smaller_ones():
    analysis, statistics = curved([True, False, True, True, True])
    sets = [partial_of(analysis, statistics, kept).kept for kept in range(5)]
    assert [int(kept.sum()) for kept in sets] == [0, 1, 2, 3, 4]
    for smaller, larger in itertools.pairwise(sets):
        assert np.all(larger[smaller])
