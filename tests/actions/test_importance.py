import itertools

import numpy as np
import pytest

from onnxshallow.actions.importance import most_important
from onnxshallow.analysis import analyze
from tests.networks import RESIDUAL, RESIDUAL_WEIGHTS, activated, build, chain, signed


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


def channels_kept(output, name, count, channel=0):
    """What is kept of a site of a residual network in which a weight hardly reads one channel."""
    shape = RESIDUAL_WEIGHTS[name]
    weight = signed(shape) / 4
    weight[:, channel] *= 1e-3
    analysis = analyze(build(RESIDUAL, **{**RESIDUAL_WEIGHTS, name: weight}))
    left = np.where(np.arange(6) == channel, 9.0, 1.0)
    return most_important(analysis, analysis.site_by_name[output], left, count).tolist()


def test_past_sums_and_poolings_the_next_layers_count():
    assert channels_kept("r4", "w5", 5, channel=2) == [True, True, False, True, True, True]


def test_where_a_layer_reads_at_once_those_behind_a_sum_do_not_count():
    """The first channel of the stem is read by the block after next, behind the sum, as much as any other."""
    assert channels_kept("r0", "w1", 5) == [False, True, True, True, True, True]


def test_of_equals_the_first_are_kept():
    analysis = analyze(activated())
    left = np.random.default_rng(0).integers(0, 3, (4, 6, 6)).astype(np.float64)
    kept = most_important(analysis, analysis.sites[0], left, 50)
    assert np.flatnonzero(kept).tolist() == sorted(sorted(range(144), key=lambda at: (-left.flat[at], at))[:50])


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
