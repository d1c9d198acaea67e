"""Fits of layers around activations of which a part is kept."""

import numpy as np

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.mask import Mask
from onnxshallow.analysis import analyze
from onnxshallow.convolution import convolve
from onnxshallow.fitting.correction import FitOptions, Target, correct, downstream, fit_layer
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.metrics import relative_error
from tests.fitting.fitting_cases import cursor
from tests.networks import assert_near, build, calibration_of, residual, signed, smooth, statistics_of
from tests.partials import intermediate, partial

CHANNELS = FindOptions(granularity="channel")

LAYER_AND_ACTIVATION = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
    h = Conv(x, w1, b1)
    r = Relu(h)
    y = Conv(r, w2, b2)
}"""
SUMMED = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
    t = Tanh(x)
    h = Conv(x, w1, b1)
    s = Add(h, t)
    r = Relu(s)
    y = Conv(r, w2, b2)
}"""
SMALL = {"w1": (4, 4, 1, 1), "b1": (4,), "w2": (4, 4, 1, 1), "b2": (4,)}
KEPT = [1, 0, 1, 0]


def corrected_partly(text, *, passed=True, batches=4, **options):
    """The network after a fit of what the mask `KEPT` leaves to fit, by tensor, and the original's tensors.

    The rewritten network reads inputs that are a little different, so that no fit is without error.
    """
    model = build(text, **SMALL)
    analysis = analyze(model)
    source = analysis.sites[0].source
    made = partial(source, "r", KEPT, linear=1.0 if passed else 0.6, constant=0.0 if passed else 0.2)
    rewritten = intermediate(model, [made])
    inputs = [signed((32, 4, 6, 6), seed) for seed in range(batches)]
    noise = [0.5 * signed((32, 4, 6, 6), 90 + seed) for seed in range(batches)]
    names = ["x", "t", "h", "s", "r"] if "Add" in text else ["x", "h", "r"]
    before = cursor(analysis, [{"x": x} for x in inputs], names)
    after = cursor(rewritten, [{"x": x + n} for x, n in zip(inputs, noise, strict=True)], names)
    layer = rewritten.layers.by_output["h"]
    settings = FitOptions(ridge=1e-9, **options)
    correct(before, after, rewritten.layers, [layer], batches, settings, changed={"h"}, partials=[made])
    before.advance(names)
    after.advance(names)
    values = [{name: np.concatenate(each[name]).astype(np.float64) for name in names} for each in (after, before)]
    return (*values, after, after.replaced.get(layer))


def rows(array):
    return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


def line_fit(x, y):
    """The least-squares weights and biases from rows x to rows y."""
    solution = np.linalg.lstsq(np.column_stack([rows(x), np.ones(len(rows(x)))]), rows(y), rcond=None)[0]
    return solution[:-1].T, solution[-1]


def test_channels_that_pass_are_fitted_to_what_the_original_activates():
    now, wanted, _, fitted = corrected_partly(LAYER_AND_ACTIVATION)
    weight, bias = line_fit(now["x"], wanted["r"])
    np.testing.assert_allclose(fitted.weight[1::2, :, 0, 0], weight[1::2], atol=1e-4)
    np.testing.assert_allclose(fitted.bias[1::2], bias[1::2], atol=1e-4)
    np.testing.assert_array_equal(now["r"][:, 1::2], now["h"][:, 1::2])


def test_channels_that_are_kept_are_fitted_to_what_comes_before_the_activation():
    now, wanted, _, fitted = corrected_partly(LAYER_AND_ACTIVATION, rounds=0)
    weight, bias = line_fit(now["x"], wanted["h"])
    np.testing.assert_allclose(fitted.weight[::2, :, 0, 0], weight[::2], atol=1e-4)
    np.testing.assert_allclose(fitted.bias[::2], bias[::2], atol=1e-4)


def test_channels_that_are_kept_are_fitted_through_the_activation_and_others_are_not():
    plain, wanted, _, first = corrected_partly(LAYER_AND_ACTIVATION, rounds=0)
    through, _, _, second = corrected_partly(LAYER_AND_ACTIVATION, rounds=6)
    np.testing.assert_allclose(second.weight[1::2], first.weight[1::2], atol=1e-4)  # targets without a threshold
    errors = [np.mean((each["r"] - wanted["r"])[:, ::2] ** 2) for each in (plain, through)]
    assert errors[1] < 0.99 * errors[0]


def test_polynomials_of_channels_that_do_not_pass_are_fitted_after_their_layer():
    now, wanted, after, fitted = corrected_partly(LAYER_AND_ACTIVATION, passed=False)
    made = after.partials["r"]
    weight, bias = line_fit(now["x"], wanted["h"])
    assert_near(now["h"], convolve(fitted, now["x"]), 1e-4)
    np.testing.assert_allclose(fitted.weight[1::2, :, 0, 0], weight[1::2], atol=1e-4)
    np.testing.assert_allclose(fitted.bias[1::2], bias[1::2], atol=1e-4)
    for channel in (1, 3):
        expected = np.polyfit(now["h"][:, channel].ravel(), wanted["r"][:, channel].ravel(), 1)
        np.testing.assert_allclose([made.linear[channel], made.constant[channel]], expected, rtol=1e-4)
        assert_near(now["r"][:, channel], np.polyval(expected, now["h"][:, channel]), 1e-4)
    np.testing.assert_array_equal(now["r"][:, ::2], np.maximum(now["h"][:, ::2], 0))


def test_a_sum_is_fitted_to_what_the_original_activates_where_it_passes():
    now, wanted, _, fitted = corrected_partly(SUMMED, rounds=0)
    for target, channels in ((wanted["s"], slice(0, None, 2)), (wanted["r"], slice(1, None, 2))):
        weight, bias = line_fit(now["x"], target - now["t"])
        np.testing.assert_allclose(fitted.weight[channels, :, 0, 0], weight[channels], atol=1e-4)
        np.testing.assert_allclose(fitted.bias[channels], bias[channels], atol=1e-4)


def test_a_partial_that_passes_and_keeps_only_has_no_polynomial_to_fit():
    _, _, after, _ = corrected_partly(LAYER_AND_ACTIVATION)
    assert after.partials == {}


def test_a_mask_of_pixels_is_fitted_without_the_activation(monkeypatch):
    """Bounds would differ from row to row."""
    seen = []

    def record(convolution, rows, ridge, *, rectifier, **options):
        seen.append(rectifier)

    monkeypatch.setattr("onnxshallow.fitting.correction.regress", record)
    model = build(LAYER_AND_ACTIVATION, **SMALL)
    kept = np.zeros((4, 6, 6), dtype=bool)
    kept[:, ::2] = True
    for made in (partial("h", "r", kept, linear=0.5), partial("h", "r", KEPT)):
        rewritten = intermediate(model, [made])
        batches = [{"x": signed((8, 4, 6, 6))}]
        target = Target("h", partial=made)
        fit_layer(
            cursor(analyze(model), batches),
            cursor(rewritten, batches),
            rewritten.layers,
            rewritten.layers.by_output["h"],
            target,
            1,
            FitOptions(),
        )
    assert seen[0] is None
    assert seen[1].lower.reshape(-1).tolist() == [0.0, -np.inf, 0.0, -np.inf]
    assert np.all(np.isinf(seen[1].upper))


def test_a_grouped_layer_has_its_bounds_by_group(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "onnxshallow.fitting.correction.regress", lambda *arguments, rectifier, **options: seen.append(rectifier)
    )
    model = build(LAYER_AND_ACTIVATION.replace("h = Conv", "h = Conv<group=2>"), **{**SMALL, "w1": (4, 2, 1, 1)})
    made = partial("h", "r", [1, 1, 0, 1])
    rewritten = intermediate(model, [made])
    batches = [{"x": signed((8, 4, 6, 6))}]
    layer = rewritten.layers.by_output["h"]
    target, pair = Target("h", partial=made), (cursor(analyze(model), batches), cursor(rewritten, batches))
    fit_layer(*pair, rewritten.layers, layer, target, 1, FitOptions())
    assert seen[0].lower.tolist() == [[[0.0, 0.0]], [[-np.inf, 0.0]]]


def test_correction_reaches_past_a_part_that_is_kept():
    """Layers after a mask are fitted too, and leave less of its error."""
    model = residual(seed=1)
    calibration = calibration_of({"x": smooth(256, 3, 8)}, batch=64)
    analysis = analyze(model)
    chosen = [c for c in Mask().find(analysis, CHANNELS).candidates if c.output == "r1" and c.kept == 1]
    rewritten = apply_candidates(analysis, chosen, statistics_of(analysis, calibration))
    layers, network = rewritten.analysis.layers, rewritten.analysis.network
    (expected,) = run_batches(model, calibration.batches[calibration.selection], 1)

    def error_after_fitting(fitted):
        before = cursor(analysis, calibration.batches)
        after = cursor(rewritten.analysis, calibration.batches, "y")
        options = (calibration.fit_batches, calibration.fit)
        correct(before, after, layers, fitted, *options, changed=rewritten.fit, partials=rewritten.partials)
        after.restrict(calibration.selection)
        return relative_error(expected, np.concatenate(after.outputs()[0]))

    touched = [layer for layer in layers if layer.output in rewritten.fit]
    assert [layer.output for layer in touched] == ["h1"]
    everything = error_after_fitting(downstream(network, layers, rewritten.fit))
    assert everything < 0.95 * error_after_fitting(touched) < 0.95 * error_after_fitting([])
