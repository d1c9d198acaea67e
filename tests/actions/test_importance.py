import itertools

import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.importance import most_important
from onnxshallow.actions.partial import partial_candidates
from onnxshallow.analysis import analyze
from tests.networks import ACTIVATED, activated, build, chain, residual, signed


def candidates(model, levels, *, name="mask", squares=False, **options):
    analysis = analyze(model)
    (site,) = analysis.sites
    chosen = FindOptions(granularity="channel", **options)
    return partial_candidates(name, analysis, site, chosen, levels, squares=squares)


# Sizes.


def test_each_level_is_a_candidate_that_saves_what_is_not_kept():
    found = candidates(activated(), [1, 3])
    assert [(c.kept, c.relus, c.squares, c.pixels) for c in found] == [(1, 108, 0, False), (3, 36, 0, False)]
    assert [c.key for c in found] == ["mask:kept1:h->y", "mask:kept3:h->y"]
    assert {c.place for c in found} == {"mask:h->y"}
    assert all(c.nodes == {1} and c.exactness == "fitted" and c.depth == c.macs == 0 for c in found)


def test_parabolas_add_a_square_for_each_activation_that_goes():
    assert [(c.relus, c.squares) for c in candidates(activated(), [0, 2], name="quadratic", squares=True)] == [
        (144, 144),
        (72, 72),
    ]


def test_levels_are_sorted_single_and_leave_something_to_save():
    assert [c.kept for c in candidates(activated(), [3, 1, 3, 4, 7, -1])] == [1, 3]


def test_every_size_lists_every_number_of_channels():
    assert [c.kept for c in candidates(activated(), [2], every_size=True)] == [0, 1, 2, 3]


def pixel_candidates(model, levels, **options):
    analysis = analyze(model)
    (site,) = analysis.sites
    return partial_candidates(
        "mask", analysis, site, FindOptions(granularity="pixel", **options), levels, pixels=True
    )


def test_pixels_are_elements_of_a_sample():
    found = pixel_candidates(activated(), [18, 72])
    assert [(c.kept, c.relus, c.pixels) for c in found] == [(18, 126, True), (72, 72, True)]
    assert found[0].key == "mask:kept18pixels:h->y"


def test_every_size_of_pixel_masks_is_a_grid_with_the_levels_of_the_search():
    kept = [c.kept for c in pixel_candidates(activated(), [11, 141], every_size=True)]
    assert {0, 2, 142, 11, 141} <= set(kept)
    assert len(kept) == 72 + 2


def test_parabolas_are_by_channel_where_masks_are_by_pixel():
    analysis = analyze(activated())
    options = FindOptions(granularity="pixel", polynomials=True)
    (found,) = partial_candidates("quadratic", analysis, analysis.sites[0], options, [1])
    assert (found.kept, found.pixels, found.relus) == (1, False, 108)


def half_active(**options):
    """A PRelu that lets two of four channels pass already, and so activates 72 elements."""
    slope = np.array([1, 0, 1, 0.2], dtype=np.float32).reshape(4, 1, 1)
    return build(ACTIVATED.format("PRelu(h, s)"), w=(4, 3, 3, 3), s=slope, **options)


def test_channels_that_pass_already_are_not_counted_as_saved():
    """The channels that are kept may be those that are activated."""
    assert [(c.kept, c.relus) for c in candidates(half_active(), [0, 1, 2, 3])] == [(0, 72), (1, 36)]
    assert [(c.relus, c.squares) for c in candidates(half_active(), [1], name="quadratic", squares=True)] == [
        (36, 108)
    ]
    assert [(c.kept, c.relus) for c in pixel_candidates(half_active(), [18, 72])] == [(18, 54)]


# Which elements.


def test_elements_are_kept_by_their_error_times_the_norm_of_what_reads_them():
    model, left = chain(), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    analysis = analyze(model)
    (site,) = analysis.sites
    weight = next(onnx_array(t) for t in model.graph.initializer if t.name == "w2")
    harm = left * np.square(weight.astype(np.float64)).sum(axis=(0, 2, 3))
    kept = most_important(analysis, site, left, 2)
    assert set(np.flatnonzero(kept)) == set(np.argsort(-harm)[:2])


def onnx_array(tensor):
    return np.frombuffer(tensor.raw_data, dtype=np.float32).reshape(tensor.dims)


def test_a_channel_that_is_hardly_read_goes_first():
    weight = signed((4, 5, 3, 3))
    weight[:, 2] *= 1e-3
    analysis = analyze(chain(w2=weight))
    kept = most_important(analysis, analysis.sites[0], np.array([1.0, 1.0, 9.0, 1.0, 1.0]), 4)
    assert kept.tolist() == [True, True, False, True, True]


def test_the_norms_of_all_readers_count_past_sums_and_poolings():
    """The first channel is read by the block after next only, behind the sum."""
    model = residual()
    for tensor in model.graph.initializer:
        if tensor.name == "w1":
            array = onnx_array(tensor).copy()
            array[:, 0] = 0
            tensor.raw_data = array.tobytes()
    analysis = analyze(model)
    kept = most_important(analysis, analysis.site_by_name["r0"], np.array([1.0, 0, 0, 0, 0, 0]), 1)
    assert kept.tolist() == [True] + [False] * 5


def test_what_no_layer_reads_is_kept_by_its_error_alone():
    analysis = analyze(activated())
    kept = most_important(analysis, analysis.sites[0], np.array([0.1, 0.4, 0.2, 0.3]), 2)
    assert kept.tolist() == [False, True, False, True]


@pytest.mark.parametrize("shape", [(5,), (5, 8, 8)])
def test_the_sets_are_nested(shape):
    analysis = analyze(chain())
    left = np.random.default_rng(0).integers(0, 3, shape).astype(np.float64)  # with ties
    sizes = range(0, left.size + 1, max(1, left.size // 10))
    sets = [most_important(analysis, analysis.sites[0], left, size) for size in sizes]
    assert [int(kept.sum()) for kept in sets] == list(sizes)
    assert all(kept.shape == shape for kept in sets)
    for smaller, larger in itertools.pairwise(sets):
        assert np.all(larger[smaller])
