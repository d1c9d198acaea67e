from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.fitting.correction import correct
from onnxshallow.fitting.gathering import KnownRows
from onnxshallow.rewriting.realize import previewed, realize
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.runtime.waypoints import Waypoints
from onnxshallow.runtime.whole import run_batches
from onnxshallow.search.candidates import find_candidates
from onnxshallow.validation.metrics import relative_error
from tests.networks import (
    CHAIN_WEIGHTS,
    assert_near,
    build,
    calibration_of,
    feeds_of,
    operators,
    residual,
    run_exactly,
    smooth,
    statistics_of,
)


def realized(model, *wanted, feeds=None, kernel="auto", batch=32, **options):
    """The plan of the candidates that end at `wanted` carried out, and the calibration."""
    analysis = analyze(model)
    calibration = calibration_of(feeds or feeds_of(model, 128), batch=batch)
    found = {c.key: c for a in (Linearize(), Fuse()) for c in a.find(analysis, FindOptions(kernel)).candidates}
    chosen = [found[key] for key in wanted]
    before = model.SerializeToString(deterministic=True)
    result = realize(analysis, chosen, statistics_of(analysis, calibration), calibration, **options)
    assert model.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(result.model, full_check=True)
    return result, calibration


def error(model, result, calibration):
    expected = run_batches(model, calibration.batches[calibration.selection], 1)
    return relative_error(expected[0], result.outputs[0])


UNPADDED = """(float[N,3,9,9] x) => (float[N,4,H,W] y) {
    h = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(h)
    y = Conv(r, w2, b2)
}"""


def test_nothing_to_do_leaves_the_model():
    model = residual()
    result, calibration = realized(model, feeds={"x": smooth(64, 3, 8)})
    assert result.model is model
    assert error(model, result, calibration) == 0
    assert result.composition_error is None


def test_the_outputs_are_those_of_the_model_on_the_held_out_batches():
    result, calibration = realized(residual(), "linearize:h1->r1", feeds={"x": smooth(64, 3, 8)}, batch=16)
    expected = run_batches(result.model, calibration.batches[calibration.selection], 1)
    np.testing.assert_array_equal(result.outputs[0], expected[0])


def test_an_unpadded_chain_composes_without_error():
    result, _ = realized(build(UNPADDED, **CHAIN_WEIGHTS), "fuse:5x5:exact:x->y", kernel="exact")
    assert operators(result.model) == ["Conv"]
    assert result.composition_error is not None
    assert result.composition_error < 1e-5


def test_a_padded_chain_composes_with_an_error_at_the_border():
    model = residual()
    feeds = {"x": smooth(96, 3, 8)}
    result, _ = realized(model, "fuse:5x5:border:r0->s1", feeds=feeds, kernel="exact")
    assert result.composition_error is not None
    assert 1e-4 < result.composition_error < 1


def test_layers_after_a_spoilt_border_are_corrected():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    key = "fuse:5x5:border:r0->s1"
    plain, calibration = realized(model, key, feeds=feeds, kernel="exact", correction=False)
    corrected, _ = realized(model, key, feeds=feeds, kernel="exact")
    assert error(model, corrected, calibration) < 0.8 * error(model, plain, calibration)


def test_after_a_spoilt_border_new_layers_are_fitted_again_however_few_the_rows(monkeypatch):
    passes = []

    def recording(*arguments, **options):
        passes.append(set(correct(*arguments, **options)))

    monkeypatch.setattr("onnxshallow.rewriting.realize.correct", recording)
    feeds = {"x": smooth(8, 3, 8)}  # 6 images of 64 pixels are few for 54 unknowns
    realized(residual(), "fuse:5x5:border:r0->s1", "linearize:h3->r3", feeds=feeds, kernel="exact", batch=2)
    assert passes == [{"r1", "r3"}, {"r3"}]


def test_a_merger_and_the_removal_after_it_are_the_merger_of_both():
    model, feeds = residual(1), {"x": smooth(64, 3, 8)}
    apart, _ = realized(model, "fuse:3x3:r0->s1", "linearize:s1->r2", feeds=feeds)
    whole, _ = realized(model, "fuse:3x3:r0->r2", feeds=feeds)
    assert operators(apart.model) == operators(whole.model)
    assert_near(apart.outputs[0], whole.outputs[0], 1e-5)


def test_a_chain_without_need_of_its_activation_is_recovered():
    model = build(UNPADDED, **{**CHAIN_WEIGHTS, "b1": [60.0] * 5})
    result, calibration = realized(model, "fuse:5x5:exact:x->y", kernel="exact")
    assert error(model, result, calibration) < 2e-4


def test_a_fitted_kernel_takes_the_place_of_a_block():
    model = residual(1)
    result, calibration = realized(model, "fuse:3x3:r0->s1", feeds={"x": smooth(256, 3, 8)})
    assert operators(result.model).count("Conv") == 4
    assert result.composition_error is None
    assert error(model, result, calibration) < 0.2


@pytest.mark.parametrize(
    "keys", [("linearize:s->r0",), ("linearize:s1->r2",), ("fuse:3x3:r0->r2", "linearize:h3->r3")]
)
def test_correction_lowers_the_error(keys):
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    plain, calibration = realized(model, *keys, feeds=feeds, correction=False)
    corrected, _ = realized(model, *keys, feeds=feeds)
    assert error(model, corrected, calibration) < 0.95 * error(model, plain, calibration)


def test_the_same_inputs_give_the_same_model():
    made = [realized(residual(), "fuse:3x3:r0->r2", feeds={"x": smooth(64, 3, 8)})[0].model for _ in range(2)]
    assert made[0].SerializeToString(deterministic=True) == made[1].SerializeToString(deterministic=True)


def test_every_fitted_layer_is_a_step():
    steps = []
    realized(residual(), "linearize:h3->r3", feeds={"x": smooth(64, 3, 8)}, step=lambda: steps.append(1))
    assert len(steps) == 3


def test_the_result_runs_the_same_in_the_reference_and_in_onnxruntime():
    result, _ = realized(residual(), "fuse:3x3:r2->r4", feeds={"x": smooth(64, 3, 8)})
    feeds = {"x": smooth(2, 3, 8, seed=9)}
    assert_near(run_exactly(result.model, feeds)[0], run_batches(result.model, [feeds], 1)[0])


def test_a_composite_of_one_channel_is_found_again_once_its_activation_is_gone():
    model = build(
        """(float[N,3,9,9] x) => (float[N,1,5,5] y) {
            h = Conv(x, w1, b1) r = Relu(h) c = Conv(r, w2, b2) y = Relu(c)
        }""",
        w1=(5, 3, 3, 3), b1=(5,), w2=(1, 5, 3, 3), b2=(1,),
    )  # fmt: skip
    result, _ = realized(model, "fuse:5x5:exact:x->c", "linearize:c->y", kernel="exact", correction=False)
    assert operators(result.model).count("Conv") == 1
    assert "Relu" not in operators(result.model)
    assert result.composition_error < 1e-5


def test_a_composite_begins_where_it_did_once_the_activation_before_it_is_gone():
    model = build(
        """(float[N,3,9,9] x) => (float[N,4,5,5] y) {
            h = Conv(x, w1, b1) r = Relu(h) i = Identity(r)
            c = Conv(i, w2, b1) q = Relu(c) y = Conv(q, w3)
        }""",
        w1=(5, 3, 3, 3), b1=(5,), w2=(5, 5, 1, 1), w3=(4, 5, 3, 3),
    )  # fmt: skip
    result, _ = realized(model, "linearize:h->r", "fuse:3x3:exact:r->y", kernel="exact")
    assert operators(result.model).count("Conv") == 2
    assert "Relu" not in operators(result.model)
    assert result.composition_error < 1e-5


@pytest.mark.parametrize("layers", [2, 3])
def test_a_split_layer_that_takes_in_what_follows_its_activation_is_fitted_as_that(layers):
    model = build(
        """(float[N,8,8,8] x) => (float[N,8,8,8] y) {
            h = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(h) n = BatchNormalization(r, s, b1, b1, v) y = Tanh(n)
        }""",
        w1=(8, 8, 3, 3), b1=(8,), s=(8,), v=np.ones(8, "f"),
    )  # fmt: skip
    analysis, calibration = analyze(model), calibration_of(feeds_of(model, 128), batch=32)
    (removal,) = Linearize().find(analysis, FindOptions()).candidates
    splits = Decompose().find(analysis, FindOptions(deeper=True, every_size=True)).candidates
    split = min((c for c in splits if (c.output, c.layers) == ("h", layers)), key=lambda c: c.left)
    result = realize(analysis, [split, removal], statistics_of(analysis, calibration), calibration)
    assert operators(result.model) == ["Conv"] * layers + ["Tanh"]
    assert error(model, result, calibration) < 0.8


def test_a_composite_is_found_again_once_two_activations_after_it_are_gone():
    model = build(
        """(float[N,3,9,9] x) => (float[N,3,9,9] y) {
            h = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(h) c = Conv<pads=[1,1,1,1]>(r, w, b)
            s = Add(c, x) q = Relu(s) p = Relu(q) y = Tanh(p)
        }""",
        w=(3, 3, 3, 3), b=(3,),
    )  # fmt: skip
    wanted = ("fuse:5x5:border:x->s", "linearize:s->q", "linearize:q->p")
    result, _ = realized(model, *wanted, kernel="exact", correction=False)
    assert operators(result.model).count("Conv") == 1
    assert "Relu" not in operators(result.model)


# Activations that stay in part.


def in_part(model, *wanted, count=128, granularity="channel", watched=(), **options):
    """A plan of masks, parabolas and others carried out; the result, the calibration and the candidates."""
    analysis = analyze(model)
    calibration = replace(calibration_of(feeds_of(model, count) if count else {}, batch=32), watched=watched)
    find = FindOptions(granularity=granularity, polynomials=True, every_size=True)
    kinds = [find_candidates(analysis, each)[0] for each in (find, FindOptions("exact"))]
    every = {c.key: c for found in kinds for c in found}
    chosen = [every[key] for key in wanted]
    sites = [site for site in analysis.sites if site.refusal is None]
    statistics = collect_statistics(analysis, sites, calibration, pixels=True)
    result = realize(analysis, chosen, statistics, calibration, **options)
    onnx.checker.check_model(result.model, full_check=True)
    return result, calibration, chosen


@pytest.mark.parametrize("form", ["split", "prelu"])
@pytest.mark.parametrize(
    "keys",
    [("mask:kept2:h1->r1",), ("mask:kept3:s1->r2", "mask:kept1:h3->r3"), ("mask:kept4:s->r0", "linearize:h1->r1")],
    ids=str,
)
def test_what_the_candidates_save_is_saved(keys, form):
    model = residual(1)
    result, calibration, chosen = in_part(model, *keys, form=form)
    assert analyze(model).cost.relus - analyze(result.model).cost.relus == sum(c.relus for c in chosen)
    expected = run_batches(result.model, calibration.batches[calibration.selection], 1)
    np.testing.assert_array_equal(result.outputs[0], expected[0])


def test_both_forms_compute_the_same():
    keys = ("mask:kept3:s1->r2", "mask:kept1:h3->r3", "mask:kept4:s->r0")
    split, prelu = (in_part(residual(1), *keys, form=form)[0] for form in ("split", "prelu"))
    assert "PRelu" in operators(prelu.model)
    assert "PRelu" not in operators(split.model)
    assert_near(prelu.outputs[0], split.outputs[0], 1e-4)


def test_the_more_is_kept_the_less_is_lost():
    errors = []
    for kept in (0, 3, 5):
        result, calibration, _ = in_part(residual(1), f"mask:kept{kept}:s1->r2", count=256)
        errors.append(error(residual(1), result, calibration))
    assert errors[0] > errors[1] > errors[2] > 0


def test_parabolas_lose_less_than_lines():
    results = [in_part(residual(1), f"{key}:h1->r1", count=256) for key in ("quadratic:kept0", "linearize")]
    parabola, line = (error(residual(1), result, calibration) for result, calibration, _ in results)
    assert parabola < 0.8 * line
    assert 0 < analyze(results[0][0].model).cost.squares <= 6 * 64


def test_pixels_are_kept_as_planned():
    result, _, (chosen,) = in_part(residual(1), "mask:kept144pixels:h1->r1", granularity="pixel")
    assert analyze(residual(1)).cost.relus - analyze(result.model).cost.relus == chosen.relus == 240


def test_without_correction_layers_after_a_mask_stay_but_for_the_order_of_their_inputs():
    model = residual(1)
    result, *_ = in_part(model, "mask:kept3:h1->r1", correction=False)
    before, after = (
        {t.name: onnx.numpy_helper.to_array(t) for t in each.graph.initializer} for each in (model, result.model)
    )
    readers = [node for node in result.model.graph.node if node.op_type == "Conv"]
    (reader,) = (node for node in readers if node.output[0] == "h2")
    np.testing.assert_array_equal(np.sort(after[reader.input[1]], axis=1), np.sort(before["w2"], axis=1))
    for name in ("w3", "w4", "w5"):
        np.testing.assert_array_equal(after[name], before[name])


def test_composed_kernels_and_masks_are_fitted_together():
    model = residual(1)
    keys = ("fuse:5x5:border:r0->s1", "mask:kept2:h3->r3", "quadratic:kept3:s2->r4")
    result, calibration, chosen = in_part(model, *keys, count=256)
    assert result.composition_error is not None
    cost = analyze(result.model).cost
    assert analyze(model).cost.relus - cost.relus == sum(c.relus for c in chosen)
    assert cost.squares > 0
    assert error(model, result, calibration) < 0.5
    expected = run_batches(result.model, calibration.batches[calibration.selection], 1)
    np.testing.assert_array_equal(result.outputs[0], expected[0])


WHITE = {"x": np.full((32, 3, 8, 8), 4.0, np.float32) + 0.1 * smooth(32, 3, 8)}


def far_off(result):
    """How far outputs are from the original's on white images, which the samples do not hold."""
    one, other = (run_batches(model, [WHITE], 1)[0] for model in (residual(1), result.model))
    return relative_error(one, other)


def test_squares_are_bounded_and_layers_fitted_by_what_is_watched():
    keys = ("quadratic:kept0:h1->r1", "quadratic:kept0:h3->r3")
    alone, *_ = in_part(residual(1), *keys, count=256)
    watched, *_ = in_part(residual(1), *keys, count=256, watched=[WHITE])
    assert watched.analysis.cost.squares > 0
    assert far_off(watched) < 0.5 * far_off(alone)


def test_without_squares_nothing_is_fitted_to_what_is_watched():
    alone, *_ = in_part(residual(1), "mask:kept3:s1->r2")
    watched, *_ = in_part(residual(1), "mask:kept3:s1->r2", watched=[WHITE])
    assert alone.model.SerializeToString() == watched.model.SerializeToString()


def preview(model, *wanted, kernel="auto", times=1):
    """What is previewed of the plan of these candidates, `times` times with the same memory of the original."""
    analysis, calibration = analyze(model), calibration_of(feeds_of(model, 128), batch=32)
    found = {c.key: c for a in (Linearize(), Fuse()) for c in a.find(analysis, FindOptions(kernel)).candidates}
    waypoints = Waypoints(analysis.network, calibration.batches, calibration.store, 1)
    rows, statistics = KnownRows(calibration.store), statistics_of(analysis, calibration)
    chosen = [found[key] for key in wanted]
    return [previewed(analysis, chosen, statistics, calibration, waypoints, rows) for _ in range(times)]


@pytest.mark.parametrize(
    "wanted",
    [("linearize:h1->r1",), ("linearize:s->r0", "linearize:h3->r3"), ("fuse:3x3:r2->s2",), ("linearize:s2->r4",)],
    ids=["inside a block", "at the beginning", "a whole block", "after a sum"],
)
def test_a_preview_tells_what_the_written_model_makes(wanted):
    (outputs,) = preview(residual(), *wanted)
    result, _ = realized(residual(), *wanted)
    assert_near(outputs[0], result.outputs[0], 1e-4)


def test_a_second_preview_says_the_same():
    first, again = preview(residual(), "linearize:h1->r1", times=2)
    np.testing.assert_array_equal(first[0], again[0])


def test_composed_kernels_have_no_preview():
    analysis = analyze(build(UNPADDED, **CHAIN_WEIGHTS))
    (exact,) = (c.key for c in Fuse().find(analysis, FindOptions("exact")).candidates)
    assert preview(build(UNPADDED, **CHAIN_WEIGHTS), exact, kernel="exact") == [None]
