import itertools

import numpy as np
import pytest

from onnxshallow.actions.importance import most_important
from onnxshallow.analysis import analyze
from tests.networks import activated, chain, residual, signed


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
