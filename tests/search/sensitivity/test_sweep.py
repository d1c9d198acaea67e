import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize, Removal
from onnxshallow.actions.mask import Mask
from onnxshallow.actions.quadratic import Quadratic
from onnxshallow.analysis import analyze
from onnxshallow.runtime import cursor as cursor_module
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search.sensitivity import sweep as sweep_module
from onnxshallow.search.sensitivity.cache import SweepCache
from onnxshallow.search.sensitivity.measures import damage
from onnxshallow.search.sensitivity.sweep import SweepOptions, sweep
from tests.networks import applied, build, calibration_of, feeds_of, residual, signed, smooth, statistics_of


def candidates_of(model, *actions):
    return [c for action in actions for c in action.find(analyze(model), FindOptions()).candidates]


def swept(model, feeds, candidates=None, *, cache=None, batch=32, **options):
    analysis = analyze(model)
    calibration = calibration_of(feeds, batch=batch)
    if candidates is None:
        candidates = candidates_of(model, Fuse(), Linearize())
    reference = run_batches(model, calibration.batches[calibration.selection], 1)
    cache = SweepCache({}, None) if cache is None else cache
    steps = []
    found = sweep(
        analysis,
        candidates,
        statistics_of(analysis, calibration),
        calibration,
        reference,
        cache,
        SweepOptions(**options),
        lambda: steps.append(1),
    )
    assert len(steps) == len(candidates)
    return found


def test_every_candidate_has_a_damage():
    found = swept(residual(), {"x": smooth(128, 3, 8)})
    assert set(found) == {c.key for c in candidates_of(residual(), Fuse(), Linearize())}
    assert all(0 <= value < 10 for value in found.values())


def test_networks_that_are_too_large_to_wait_are_made_again(monkeypatch):
    """With the same damages, and twice the rewriting."""
    feeds = {"x": smooth(96, 3, 8)}
    made = []
    apply = sweep_module.apply_candidates
    monkeypatch.setattr(sweep_module, "apply_candidates", lambda *all_: made.append(1) or apply(*all_))
    known = swept(residual(), feeds)
    once = len(made)
    monkeypatch.setattr(sweep_module, "_MOST_KEPT", 0)
    assert swept(residual(), feeds) == known
    assert len(made) == 3 * once


def test_a_relu_whose_input_is_always_positive_does_no_damage():
    model = build(
        """(float[N,3,6,6] x) => (float[N,4] y) {
            a = Conv(x, w1, b1)
            r = Relu(a)
            b = Conv<pads=[1,1,1,1]>(r, w2)
            q = Relu(b)
            g = GlobalAveragePool(q)
            y = Flatten(g)
        }""",
        w1=0.1 * signed((4, 3, 1, 1)),
        b1=[50.0, 60.0, 70.0, 80.0],
        w2=signed((4, 4, 3, 3)),
    )
    found = swept(model, {"x": signed((96, 3, 6, 6))}, candidates_of(model, Linearize()), measure="mse")
    assert found["linearize:a->r"] < 1e-8


def test_without_lookahead_an_unfitted_candidate_is_measured_as_it_stands():
    model = build(
        """(float[N,3,6,6] x) => (float[N,3] y) {
            p = MaxPool<kernel_shape=[2,2]>(x)
            r = Relu(p)
            g = GlobalAveragePool(r)
            y = Flatten(g)
        }"""
    )
    feeds = {"x": signed((64, 3, 6, 6))}
    analysis, calibration = analyze(model), calibration_of(feeds, batch=16)
    candidates = candidates_of(model, Linearize())
    result = applied(model, candidates, statistics_of(analysis, calibration))
    held_out = calibration.batches[calibration.selection]
    expected = damage("mse", run_batches(model, held_out, 1), run_batches(result, held_out, 1))
    found = swept(model, feeds, candidates, batch=16, measure="mse", lookahead=0)
    assert found["linearize:p->r"] == pytest.approx(expected, rel=1e-4)


def test_lookahead_repairs_some_of_the_damage():
    feeds = {"x": smooth(256, 3, 8)}
    candidates = candidates_of(residual(1), Linearize())
    alone, repaired = (swept(residual(1), feeds, candidates, measure="mse", lookahead=n) for n in (0, 2))
    assert sum(repaired.values()) < 0.8 * sum(alone.values())


def test_a_fitted_merger_is_measured_after_its_fit(monkeypatch):
    feeds = {"x": smooth(128, 3, 8)}
    candidates = candidates_of(residual(), Fuse())
    fitted = swept(residual(), feeds, candidates, measure="mse")
    monkeypatch.setattr(sweep_module, "correct", lambda *args, **options: {})
    composed = swept(residual(), feeds, candidates, measure="mse")
    assert all(fitted[key] < composed[key] for key in fitted)


def test_cached_values_are_not_measured_again(monkeypatch):
    model, feeds = residual(), {"x": smooth(64, 3, 8)}
    candidates = candidates_of(model, Linearize())
    cache = SweepCache({}, None)
    for candidate in candidates[1:]:
        cache[candidate.key] = 7.0
    measured = []
    damage_of = sweep_module._damage_of

    def counting(cursor, rewritten, *rest):
        measured.append(rewritten)
        return damage_of(cursor, rewritten, *rest)

    monkeypatch.setattr(sweep_module, "_damage_of", counting)
    found = swept(model, feeds, candidates, cache=cache)
    assert len(measured) == 1
    assert [found[c.key] for c in candidates[1:]] == [7.0] * 4
    assert swept(model, feeds, candidates, cache=cache) == found
    assert len(measured) == 1


def test_new_values_are_cached():
    cache = SweepCache({}, None)
    found = swept(residual(), {"x": smooth(64, 3, 8)}, cache=cache)
    assert {key: cache[key] for key in found} == found


def test_a_candidate_that_does_not_apply_is_left_out_with_a_warning(caplog):
    missing = Removal("linearize", ("r1",), "h1", "nowhere")
    found = swept(residual(), {"x": smooth(32, 3, 8)}, [missing], batch=8)
    assert found == {}
    assert "does not apply" in caplog.text


def test_the_order_of_the_candidates_does_not_matter():
    feeds = {"x": smooth(64, 3, 8)}
    candidates = candidates_of(residual(), Fuse(), Linearize())
    assert swept(residual(), feeds, candidates) == swept(residual(), feeds, candidates[::-1])


def test_the_original_is_run_once(monkeypatch):
    nodes = []
    build_segment = cursor_module.build_segment

    def recording(network, *rest):
        model, reads = build_segment(network, *rest)
        nodes.extend((id(network), node.output[0]) for node in model.graph.node)
        return model, reads

    monkeypatch.setattr(cursor_module, "build_segment", recording)
    monkeypatch.setattr(sweep_module, "correct", lambda *args, **options: {})
    model = residual()
    analysis, calibration = analyze(model), calibration_of({"x": smooth(32, 3, 8)}, batch=8)
    reference = run_batches(model, calibration.batches[calibration.selection], 1)
    candidates = candidates_of(model, Fuse(), Linearize())
    statistics = statistics_of(analysis, calibration)
    nodes.clear()
    sweep(analysis, candidates, statistics, calibration, reference, SweepCache({}, None), SweepOptions())
    own = [name for network, name in nodes if network == id(analysis.network)]
    assert own
    assert len(own) == len(set(own))


NETWORKS = {
    "a normalization that stands alone": (
        """(float[N,3,8,8] x) => (float[N,4] y) {
            p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)
            n = BatchNormalization(p, s, b, m, v)
            r = Relu(n)
            c = Conv<pads=[1,1,1,1]>(r, w)
            g = GlobalAveragePool(c)
            y = Flatten(g)
        }""",
        {"w": (4, 3, 3, 3), **{name: [1.0, 0.5, 2.0] for name in "sbmv"}},
    ),
    "two inputs": (
        """(float[N,3,8,8] x, float[N,4] z) => (float[N,4] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1)
            r = Relu(a)
            b = Conv<pads=[1,1,1,1]>(r, w2)
            q = Relu(b)
            g = GlobalAveragePool(q)
            f = Flatten(g)
            y = Add(f, z)
        }""",
        {"w1": (5, 3, 3, 3), "w2": (4, 5, 3, 3)},
    ),
    "a broadcast sum": (
        """(float[N,3,8,8] x) => (float[N,4] y) {
            g = GlobalAveragePool(x)
            e = Conv(g, w2)
            k = Conv<pads=[1,1,1,1]>(x, w1)
            s = Add(k, e)
            r = Relu(s)
            c = Conv<pads=[1,1,1,1]>(r, w3)
            q = Relu(c)
            h = GlobalAveragePool(q)
            y = Flatten(h)
        }""",
        {"w1": (4, 3, 3, 3), "w2": (4, 3, 1, 1), "w3": (4, 4, 3, 3)},
    ),
    "gemms": (
        """(float[N,6] x) => (float[N,3] y) {
            a = Gemm(x, w1)
            r = Relu(a)
            b = Gemm(r, w2)
            q = Relu(b)
            y = Gemm(q, w3)
        }""",
        {"w1": (6, 8), "w2": (8, 8), "w3": (8, 3)},
    ),
    "depthwise convolutions": (
        """(float[N,4,6,6] x) => (float[N,4] y) {
            a = Conv(x, w1)
            r = Relu(a)
            d = Conv<group=8, pads=[1,1,1,1]>(r, w2)
            q = Relu(d)
            c = Conv(q, w3)
            s = Add(c, x)
            g = GlobalAveragePool(s)
            y = Flatten(g)
        }""",
        {"w1": (8, 4, 1, 1), "w2": (8, 1, 3, 3), "w3": (4, 8, 1, 1)},
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_many_kinds_are_swept(name):
    text, weights = NETWORKS[name]
    model = build(text, **weights)
    found = swept(model, feeds_of(model, 64), batch=16)
    assert set(found) == {c.key for c in candidates_of(model, Fuse(), Linearize())}
    assert all(np.isfinite(value) for value in found.values())


def test_an_exact_candidate_of_a_sweep_is_measured():
    model = residual()
    candidates = Fuse().find(analyze(model), FindOptions("exact")).candidates
    assert set(swept(model, {"x": smooth(64, 3, 8)}, candidates)) == {c.key for c in candidates}


def test_masks_do_less_damage_the_more_they_keep():
    options = FindOptions(granularity="channel")
    masks = Mask().find(analyze(residual(1)), options).candidates
    found = swept(residual(1), {"x": smooth(256, 3, 8)}, masks, batch=64)
    assert set(found) == {c.key for c in masks}
    for output in ("r0", "r1", "r2", "r3", "r4"):
        by_size = [found[c.key] for c in sorted(masks, key=lambda c: c.kept or 0) if c.output == output]
        assert by_size[0] > 2 * by_size[-1]


def test_a_parabola_does_less_damage_than_a_line():
    quadratics = Quadratic().find(analyze(residual(1)), FindOptions(polynomials=True)).candidates
    lines = candidates_of(residual(1), Linearize())
    found = swept(residual(1), {"x": smooth(256, 3, 8)}, [*quadratics, *lines], batch=64)
    pairs = [(found[q.key], found[line.key]) for q, line in zip(quadratics, lines, strict=True)]
    assert sum(one < other for one, other in pairs) >= 4
    assert sum(one for one, _ in pairs) < 0.7 * sum(other for _, other in pairs)


def test_the_polynomials_of_a_site_that_no_layer_makes_are_fitted_too():
    """Nothing else could be, as the pooling is between."""
    model = build(
        """(float[N,3,8,8] x) => (float[N,4,4,4] y) {
            h = Conv<pads=[1,1,1,1]>(x, w1)
            p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(h)
            y = Relu(p)
        }""",
        w1=(4, 3, 3, 3),
    )
    (mask,) = (c for c in Mask().find(analyze(model), FindOptions(granularity="channel")).candidates if c.kept == 1)
    (line,) = candidates_of(model, Linearize())
    found = swept(model, feeds_of(model, 128), [mask, line], measure="mse")
    assert 0 < found[mask.key] < found[line.key]
