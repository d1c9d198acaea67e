from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.convolution import scale_output
from onnxshallow.fitting.correction import FitOptions, correct, downstream, fit_layer
from onnxshallow.fitting.targets import Target
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.metrics import relative_error
from tests.fitting.fitting_cases import TWO_BRANCHES, broadcast_sum, cursor, layer_of, linearized
from tests.networks import (
    CHAIN_WEIGHTS,
    assert_near,
    build,
    calibration_of,
    chain,
    error_of,
    residual,
    signed,
    smooth,
)

# What a layer is fitted to.


# Which layers come after a change.


def test_downstream_is_what_is_touched_and_what_depends_on_it():
    analysis = analyze(residual())
    found = downstream(analysis.network, analysis.layers, {"h2"})
    assert [layer.output for layer in found] == ["h2", "h3", "h4", "y"]


def test_downstream_leaves_a_batch_normalization_out_unless_it_is_touched():
    model = build(
        """(float[N,3,4,4] x) => (float[N,3,4,4] y) {
            k = Conv(x, w)
            r = Relu(k)
            n = BatchNormalization(r, s, b, m, v)
            y = Relu(n)
        }""",
        w=(3, 3, 1, 1),
        **{name: [1.0, 2.0, 3.0] for name in "sbmv"},
    )
    analysis = analyze(model)
    assert [layer.output for layer in downstream(analysis.network, analysis.layers, {"k"})] == ["k"]
    assert [layer.output for layer in downstream(analysis.network, analysis.layers, {"n"})] == ["n"]


# The fit of one layer.


def test_a_spoilt_layer_is_recovered():
    analysis = analyze(chain())
    layer = layer_of(analysis, "h")
    batches = [{"x": signed((16, 3, 8, 8), seed)} for seed in range(4)]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    true = analysis.layers.convolution(layer)
    spoilt = scale_output(true, 0.3, 1.0)
    analysis.layers._convolutions["h"] = spoilt
    fitted = fit_layer(before, after, analysis.layers, layer, Target("h"), 4, FitOptions(ridge=1e-8, rounds=0))
    assert fitted is not None
    assert_near(fitted.convolution.weight, true.weight, 1e-3)
    assert_near(fitted.convolution.bias, true.bias, 1e-3)


def test_a_layer_beyond_the_memory_budget_is_left():
    analysis = analyze(chain())
    batches = [{"x": signed((4, 3, 8, 8))}]
    fitted = fit_layer(
        cursor(analysis, batches),
        cursor(analysis, batches),
        analysis.layers,
        layer_of(analysis, "h"),
        Target("h"),
        1,
        FitOptions(memory=1000),
    )
    assert fitted is None


def test_the_held_out_batches_do_not_count():
    analysis = analyze(chain())
    layer = layer_of(analysis, "h")
    options = FitOptions(rounds=0)
    batches = [{"x": signed((8, 3, 8, 8), seed)} for seed in range(2)]
    fits = []
    for held_out in (signed((8, 3, 8, 8), 7), 100 * signed((8, 3, 8, 8), 8)):
        everything = [*batches, {"x": held_out}]
        before, after = cursor(analysis, everything), cursor(analysis, everything)
        fits.append(fit_layer(before, after, analysis.layers, layer, Target("h"), 2, options))
    np.testing.assert_array_equal(fits[0].convolution.weight, fits[1].convolution.weight)


def test_sampling_positions_depends_on_the_seed_alone():
    analysis = analyze(chain(w2=signed((4, 5, 3, 3))))
    layer = layer_of(analysis, "y")
    batches = [{"x": signed((16, 3, 8, 8))}]

    def fit(seed):
        options = FitOptions(rows_per_unknown=4, least_rows=100, seed=seed)
        target = Target("h2")
        before = cursor(analyze(shifted), batches)
        after = cursor(analysis, batches)
        return fit_layer(before, after, analysis.layers, layer, target, 1, options).convolution

    shifted = build(
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
            h = Conv<pads=[1,1,1,1]>(x, w1, b1)
            r = Tanh(h)
            h2 = Conv<pads=[1,1,1,1]>(r, w2, b2)
            y = Relu(h2)
        }""",
        **CHAIN_WEIGHTS,
    )
    np.testing.assert_array_equal(fit(1).weight, fit(1).weight)
    assert np.any(fit(1).weight != fit(2).weight)


@pytest.mark.parametrize(
    ("rows_per_unknown", "least_rows", "rows"),
    [(1, 0, 32), (1, 256, 256), (20, 256, 544), (1, 10_000, 1024), (1000, 0, 1024)],
    ids=["by unknowns", "the least", "more by unknowns", "no more than there are", "all of them"],
)
def test_rows_are_as_many_as_the_unknowns_ask_for_and_the_least_at_least(
    monkeypatch, rows_per_unknown, least_rows, rows
):
    seen = []

    def record(convolution, rows, ridge, **options):
        seen.append(rows.patches.shape[1])

    monkeypatch.setattr("onnxshallow.fitting.correction.regress", record)
    analysis = analyze(chain())
    batches = [{"x": signed((16, 3, 8, 8))}]  # 1024 pixels; the layer has 27 unknowns an output
    options = FitOptions(rows_per_unknown=rows_per_unknown, least_rows=least_rows, fewest_rows=0)
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fit_layer(before, after, analysis.layers, layer_of(analysis, "h"), Target("h"), 1, options)
    assert seen == [rows]  # the same number of pixels from each of 16 images


@pytest.mark.parametrize(
    ("text", "rectified"),
    [
        ("y = Relu(h)", True),
        ("z = Constant<value_float=0.0>() u = Constant<value_float=6.0>() y = Clip(h, z, u)", True),
        ("y = LeakyRelu(h)", False),
        ("z = Relu(h) y = Add(z, h)", False),
    ],
    ids=["relu", "clip", "leaky", "read twice"],
)
def test_a_layer_is_fitted_through_the_activation_that_alone_follows(monkeypatch, text, rectified):
    model = build(f"(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ h = Conv(x, w) {text} }}", w=(2, 3, 1, 1))
    seen = []

    def record(convolution, rows, ridge, *, rectifier, **options):
        seen.append(rectifier)
        return convolution

    monkeypatch.setattr("onnxshallow.fitting.correction.regress", record)
    analysis = analyze(model)
    batches = [{"x": signed((4, 3, 4, 4))}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fit_layer(before, after, analysis.layers, layer_of(analysis, "h"), Target("h"), 1, FitOptions())
    assert [rectifier is not None for rectifier in seen] == [rectified]


# Sequential correction.


def test_correcting_an_unchanged_network_changes_nothing():
    analysis = analyze(residual())
    batches = [{"x": smooth(16, 3, 8, seed)} for seed in range(4)]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fitted = correct(before, after, analysis.layers, list(analysis.layers), 4, FitOptions())
    assert list(fitted) == ["s", "h1", "h2", "h3", "h4", "y"]
    for output, convolution in fitted.items():
        assert error_of(convolution.weight, analysis.layers.convolution(layer_of(analysis, output)).weight) < 1e-2


@pytest.mark.parametrize("site", ["r0", "r1", "r2", "r3"])
def test_correction_lowers_the_error_that_a_removal_leaves(site):
    model = residual(seed=1)
    calibration = calibration_of({"x": smooth(256, 3, 8)}, batch=64)
    original, rewritten = linearized(model, site, calibration)
    layers, network = rewritten.analysis.layers, rewritten.analysis.network
    (expected,) = run_batches(model, calibration.batches[calibration.selection], 1)

    def error_after_fitting(chosen):
        before, after = (
            cursor(original, calibration.batches),
            cursor(rewritten.analysis, calibration.batches, "y"),
        )
        correct(before, after, layers, chosen, calibration.fit_batches, calibration.fit)
        after.restrict(calibration.selection)
        return relative_error(expected, np.concatenate(after.outputs()[0]))

    touched = [layer for layer in layers if layer.output in rewritten.fit]
    corrected = error_after_fitting(downstream(network, layers, rewritten.fit))
    assert corrected < 0.95 * error_after_fitting(touched)


def test_every_layer_is_a_step_also_one_without_a_target():
    original = analyze(build("(float[N,3,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w) }", w=(4, 3, 1, 1)))
    analysis = analyze(chain())
    batches = [{"x": signed((4, 3, 8, 8))}]
    steps = []
    fitted = correct(
        cursor(original, batches),
        cursor(analysis, batches),
        analysis.layers,
        list(analysis.layers),
        1,
        FitOptions(fewest_rows=0),
        lambda: steps.append(1),
    )
    assert len(steps) == 2
    assert list(fitted) == ["y"]


def test_the_goals_of_both_cursors_are_as_before():
    analysis = analyze(residual())
    batches = [{"x": smooth(8, 3, 8)}]
    before, after = cursor(analysis, batches), cursor(analysis, batches, ["y"])
    correct(before, after, analysis.layers, list(analysis.layers), 1, replace(FitOptions(), rounds=1))
    assert before.goals == set()
    assert after.goals == {"y"}


def test_a_network_with_a_broadcast_sum_is_corrected():
    model = broadcast_sum()
    analysis = analyze(model)
    batches = [{"x": signed((16, 3, 8, 8))}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fitted = correct(before, after, analysis.layers, list(analysis.layers), 1, FitOptions(fewest_rows=0))
    assert set(fitted) == {"e", "k"}


# Layers that have few rows.


def fitted_with_few_rows(changed):
    """What is fitted of a chain whose layers have 28 and 19 unknowns and 16 rows each."""
    analysis = analyze(chain())
    batches = [{"x": smooth(1, 3, 4)}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    return correct(before, after, analysis.layers, list(analysis.layers), 1, FitOptions(), changed=changed)


def test_a_layer_that_does_what_it_did_is_left_alone_where_rows_are_few():
    assert fitted_with_few_rows(()) == {}


def test_layers_that_are_left_alone_are_noted():
    analysis = analyze(chain())
    batches = [{"x": smooth(1, 3, 4)}]
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    correct(before, after, analysis.layers, list(analysis.layers), 1, FitOptions())
    assert after.short == list(analysis.layers)
    assert before.short == []


def test_a_new_layer_is_fitted_however_few_its_rows_are():
    assert set(fitted_with_few_rows({"y"})) == {"y"}


# Layers split in two.


# The two branches of a sum, which read different tensors, so that neither can do the work of the other.

BRANCHES = TWO_BRANCHES.replace("b = Conv<pads=[1,1,1,1]>(x,", "t = Tanh(x) b = Conv<pads=[1,1,1,1]>(t,")


def corrected_branches(batches, spoilt):
    """What is fitted of two branches of which the first is another, by output, and the original's layers."""
    weights = {"w1": signed((4, 3, 3, 3)), "w2": signed((4, 3, 3, 3), 1)}
    original, rewritten = (analyze(build(BRANCHES, **weights | changes)) for changes in ({}, {"w1": spoilt}))
    before, after = cursor(original, batches), cursor(rewritten, batches)
    options = FitOptions(ridge=1e-8, rounds=0)
    fitted = correct(before, after, rewritten.layers, list(rewritten.layers), len(batches), options)
    return fitted, original.layers


def test_a_branch_that_was_fitted_is_scaled_as_it_was_fitted():
    fitted, true = corrected_branches([{"x": signed((32, 3, 8, 8), 2)}], signed((4, 3, 3, 3), 9))
    assert list(fitted) == ["a", "b"]
    for output, convolution in fitted.items():
        assert_near(convolution.weight, true.convolution(true.by_output[output]).weight, 1e-2)


def test_a_branch_is_not_scaled_where_the_other_is_not_fitted():
    fitted, _ = corrected_branches([{"x": signed((1, 3, 4, 4), 2)}], signed((4, 3, 3, 3), 9))
    assert fitted == {}


def test_rows_are_no_more_than_the_memory_holds(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "onnxshallow.fitting.correction.regress", lambda convolution, rows, *_, **__: seen.append(rows.patches.shape)
    )
    text = "(float[N,4,8,8] x) => (float[N,4,8,8] y) { h = Conv<pads=[1,1,1,1],group=2>(x, w) y = Tanh(h) }"
    analysis = analyze(build(text, w=(4, 2, 3, 3)))
    batches = [{"x": signed((16, 4, 8, 8))}]  # 1024 pixels; a row takes 2 x (18 + 3 x 2) floats
    options = FitOptions(memory=96 * 2 * 24 * 4, fewest_rows=0)
    before, after = cursor(analysis, batches), cursor(analysis, batches)
    fit_layer(before, after, analysis.layers, layer_of(analysis, "h"), Target("h"), 1, options)
    assert seen == [(2, 96, 18)]
