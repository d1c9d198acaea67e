"""Channels that are left out."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.linearize import Linearize
from onnxshallow.actions.prune import Prune
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.analysis.narrowing import find_narrowable
from onnxshallow.rewriting.channel_orders import with_orders
from onnxshallow.rewriting.realize import realize, unfitted
from onnxshallow.search.overlaps import saved
from tests.networks import (
    assert_near,
    build,
    calibration_of,
    chain,
    error_of,
    operators,
    residual,
    run_exactly,
    signed,
    smooth,
    statistics_of,
)

NARROWER = FindOptions(narrower=True)
PLAIN = (
    "(float[N,3,8,8] x) => (float[N,4,a,b] y) "
    "{ h = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(h) BODY y = Conv(last, v) }"
)


def find(model, **options):
    return Prune().find(analyze(model), replace(NARROWER, **options))


def with_copies(body="last = Identity(r)", **weights):
    """Six channels of which the last three are the first three, times some numbers."""
    w, b = signed((6, 3, 3, 3)), signed((6,), 1)
    factors = np.array([2.0, 0.5, 3.0], np.float32)
    w[3:], b[3:] = w[:3] * factors.reshape(-1, 1, 1, 1), b[:3] * factors
    return build(PLAIN.replace("BODY", body), w=w, b=b, v=(4, 6, 3, 3), **weights)


def kept(model, count, output=None):
    return next(c for c in find(model, every_size=True).candidates if c.kept == count and output in (None, c.output))


def carried_out(model, chosen, feeds, **options):
    """The realized plan, and the statistics that it went by."""
    analysis, calibration = analyze(model), calibration_of(feeds, batch=32, ridge=1e-9)
    plain = statistics_of(analysis, calibration)
    statistics = with_orders(analysis, plain, find_narrowable(analysis)[0], calibration)
    result = realize(analysis, chosen, statistics, calibration, **options)
    onnx.checker.check_model(result.model, full_check=True)
    assert_counts(model, result.model, chosen)
    assert_counts(model, unfitted(analysis, chosen, statistics), chosen)
    return result, statistics


def assert_counts(model, result, chosen):
    before, after = analyze(model).cost, analyze(result).cost
    assert before.macs - after.macs == saved(chosen, "macs")
    assert before.relus - after.relus == saved(chosen, "relus")
    assert before.depth == after.depth


def assert_same(model, result, tolerance=1e-3):
    feeds = {"x": smooth(8, 3, 8, seed=9)}
    for actual, expected in zip(run_exactly(result, feeds), run_exactly(model, feeds), strict=True):
        assert_near(actual, expected, tolerance)


# What is offered.


def test_nothing_unless_fewer_channels_are_wanted():
    found = Prune().find(analyze(chain()), FindOptions())
    assert (found.candidates, found.refusals) == ((), {})


def test_counts_come_in_eighths_and_whole_blocks():
    def counts(width):
        return [c.kept for c in find(chain(w1=(width, 3, 3, 3), b1=(width,), w2=(4, width, 3, 3))).candidates]

    assert counts(5) == [2, 3, 4]
    assert counts(8) == [2, 3, 4, 5, 6, 7]
    assert counts(48) == [8, 12, 16, 24, 32, 36, 40]
    assert counts(64) == [8, 16, 24, 32, 40, 48, 56]
    assert counts(128) == [16, 32, 48, 64, 80, 96, 112]


def test_every_count_is_listed_for_plans_by_hand():
    assert [c.kept for c in find(chain(), every_size=True).candidates] == [2, 3, 4]


def test_a_fit_beyond_the_memory_is_refused():
    found = find(chain(), memory=1000)
    assert found.candidates == ()
    (reason,) = found.refusals.values()
    assert "takes more memory than --memory allows" in reason


def test_channels_that_were_not_looked_at_are_refused_once_samples_are_known():
    analysis = analyze(chain())
    statistics = statistics_of(analysis, calibration_of({"x": smooth(32, 3, 8)}))
    found = find(chain(), statistics=statistics)
    assert found.candidates == ()
    assert all(reason.startswith("what reads its channels was not looked at") for reason in found.refusals.values())
    ranked = with_orders(analysis, statistics, find_narrowable(analysis)[0], calibration_of({"x": smooth(32, 3, 8)}))
    assert find(chain(), statistics=ranked).candidates == find(chain()).candidates


def test_a_stream_that_keeps_its_channels_says_why():
    model = build("(float[N,3,8,8] x) => (float[N,6,8,8] y) { h = Conv(x, w) y = Relu(h) }", w=(6, 3, 1, 1))
    ((reason),) = find(model).refusals.values()
    assert "those of an input or an output" in reason


def test_what_is_said_of_it():
    candidate = kept(with_copies(), 4)
    assert candidate.what == "keeps 4 of 6 channels, by which the layers that read them were fitted"
    assert candidate.short == "4 of 6 channels kept"
    assert candidate.title == "prune, keeps 4"
    assert candidate.variant == {"kept": 4}
    assert candidate.reported == {"kept": 4, "kept_unit": "channels"}
    assert candidate.key.startswith("prune:kept4:x->h")
    assert (candidate.whole, candidate.removed, candidate.by_order) == (False, 0, True)


def test_damage_is_expected_to_fall_fast_and_to_grow_slowly():
    more, less = kept(with_copies(), 2), kept(with_copies(), 4)
    assert less.capacity > more.capacity
    assert (less.power(more), more.power(less)) == (2.0, 1.0)


# Carried out: exact where the others hold all that is left out.


@pytest.mark.parametrize(
    "body",
    [
        "last = Identity(r)",
        "last = MaxPool<kernel_shape=[2,2]>(r)",
        "last = AveragePool<kernel_shape=[2,2]>(r)",
        "s = LeakyRelu<alpha=0.1>(r) last = Identity(s)",
    ],
)
def test_copies_go_without_a_loss(body):
    model = with_copies(body)
    result, statistics = carried_out(model, [kept(model, 3)], {"x": smooth(128, 3, 8)})
    assert_same(model, result.model)
    gone = set(next(iter(statistics.values())).order[:3] % 3)
    assert gone == {0, 1, 2}


def test_copies_go_without_a_loss_around_a_depthwise_layer():
    body = "d = Conv<group=6,pads=[1,1,1,1]>(r, k, e) last = Clip(d, zero, six)"
    k, e = signed((6, 1, 3, 3)), np.full(6, 0.1, np.float32)
    k[3:] = k[:3] / np.array([2.0, 0.5, 3.0], np.float32).reshape(-1, 1, 1, 1)
    model = with_copies(body, k=k, e=e, zero=np.array(0, np.float32), six=np.array(6, np.float32))
    result, _ = carried_out(model, [kept(model, 3)], {"x": smooth(128, 3, 8)})
    assert_same(model, result.model)
    groups = [node.attribute for node in result.model.graph.node if node.op_type == "Conv"][1]
    assert next(a.i for a in groups if a.name == "group") == 3


def test_copies_go_without_a_loss_before_a_flattened_linear_layer():
    w, b = signed((4, 3, 3, 3)), signed((4,), 1)
    w[2:], b[2:] = 2 * w[:2], 2 * b[:2]
    model = build(
        "(float[N,3,8,8] x) => (float[N,5] y) "
        "{ h = Conv(x, w, b) r = Relu(h) p = MaxPool<kernel_shape=[3,3],strides=[3,3]>(r) f = Flatten(p) "
        "y = Gemm<transB=1>(f, v) }",
        w=w,
        b=b,
        v=(5, 16),
    )
    result, _ = carried_out(model, [kept(model, 2)], {"x": smooth(256, 3, 8)})
    assert_same(model, result.model)
    assert operators(result.model) == operators(model)


def test_copies_in_a_residual_stream_go_at_all_of_its_ends():
    def copied(*shape, seed):
        w, b = signed(shape, seed), signed(shape[:1], seed + 1)
        half = shape[0] // 2
        w[half:], b[half:] = w[:half], b[:half]
        return w, b

    weights = {}
    for n, shape in enumerate([(6, 3, 3, 3), (5, 6, 3, 3), (6, 5, 3, 3)]):
        weights[f"w{n}"], weights[f"b{n}"] = (
            copied(*shape, seed=10 * n) if shape[0] == 6 else (signed(shape), signed((5,)))
        )
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { c0 = Conv<pads=[1,1,1,1]>(x, w0, b0) r0 = Relu(c0) "
        "c1 = Conv<pads=[1,1,1,1]>(r0, w1, b1) r1 = Relu(c1) c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2) s = Add(c2, r0) "
        "r2 = Relu(s) y = Conv(r2, v) }",
        v=(4, 6, 1, 1),
        **weights,
    )
    chosen = [kept(model, 3, "c0")]
    assert len(chosen[0].sites) == 2
    result, _ = carried_out(model, chosen, {"x": smooth(128, 3, 8)})
    assert_same(model, result.model)


def test_neighbours_together_cost_what_they_promise():
    model = residual()
    places = {c.output: c for c in find(model).candidates if c.kept == c.width // 2}
    result, _ = carried_out(model, list(places.values()), {"x": smooth(128, 3, 8)})
    assert len(places) > 2
    assert operators(result.model) == operators(model)


def test_the_fit_makes_up_for_what_is_gone():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [c for c in find(model).candidates if c.kept == c.width - 2][:1]
    result, statistics = carried_out(model, chosen, feeds)
    plain = unfitted(analyze(model), chosen, statistics)
    test = {"x": smooth(64, 3, 8, seed=5)}
    expected = run_exactly(model, test)[0]
    fitted, cut = (np.sqrt(np.mean((run_exactly(m, test)[0] - expected) ** 2)) for m in (result.model, plain))
    assert fitted < 0.6 * cut
    assert error_of(run_exactly(result.model, test)[0], expected) > 0


def test_the_same_twice_is_the_same_to_the_byte():
    model, feeds = residual(), {"x": smooth(64, 3, 8)}
    chosen = [find(model).candidates[2]]
    first, second = (
        carried_out(model, chosen, feeds)[0].model.SerializeToString(deterministic=True) for _ in range(2)
    )
    assert first == second


def test_beside_the_removal_of_another_activation():
    model = residual()
    narrower = next(c for c in find(model).candidates if len(c.sites) == 1)
    removals = Linearize().find(analyze(model), FindOptions()).candidates
    other = next(c for c in removals if not narrower.excludes(c) and not c.excludes(narrower))
    same = next(c for c in removals if c.sites == narrower.sites)
    assert narrower.excludes(same)
    carried_out(model, [narrower, other], {"x": smooth(64, 3, 8)})


def test_what_is_written_first_holds_zeros():
    model = with_copies()
    analysis, calibration = analyze(model), calibration_of({"x": smooth(32, 3, 8)})
    statistics = with_orders(
        analysis, statistics_of(analysis, calibration), find_narrowable(analysis)[0], calibration
    )
    rewritten = apply_candidates(analysis, [kept(model, 4)], statistics)
    assert rewritten.fit == {"y"}
    assert set(rewritten.dead) == {"h", "r"}
    assert {int(gone.sum()) for gone in rewritten.dead.values()} == {2}
    silent = rewritten.analysis.layers.convolution(rewritten.analysis.layers.by_output["h"])
    gone = rewritten.dead["h"]
    assert not silent.weight[gone].any()
    assert not silent.bias[gone].any()


def test_channels_that_were_not_measured_cannot_go():
    model = with_copies()
    analysis = analyze(model)
    with pytest.raises(NotLinearError, match="were not measured"):
        apply_candidates(analysis, [kept(model, 4)], statistics_of(analysis, calibration_of({"x": smooth(32, 3, 8)})))


def test_a_place_that_is_gone():
    model = with_copies()
    candidate = replace(kept(model, 4), output="elsewhere")
    with pytest.raises(NotLinearError, match="no stream of channels begins at tensor 'elsewhere'"):
        apply_candidates(analyze(model), [candidate], {})
