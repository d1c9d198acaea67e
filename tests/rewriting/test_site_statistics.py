from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from onnxshallow.analysis import analyze
from onnxshallow.errors import ModelError
from onnxshallow.fitting.moments import site_statistics
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.runtime import cursor as cursor_module
from tests.networks import build, calibration_of, chain, residual, run_exactly, signed, smooth, statistics_of
from tests.properties.cases import with_outputs


def test_the_maps_are_those_of_each_sites_own_values():
    model = residual()
    x = smooth(8, 3, 8)
    analysis = analyze(model)
    statistics = statistics_of(analysis, calibration_of({"x": x}, batch=4, fit_batches=2))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    names = [name for site in analysis.sites for name in (site.source, site.output)]
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    probe.graph.output.extend(value for value in inferred if value.name in names)
    values = dict(zip((v.name for v in probe.graph.output), run_exactly(probe, {"x": x}), strict=True))
    for site in analysis.sites:
        expected = site_statistics([(values[site.source], values[site.output])], site.channels)
        np.testing.assert_allclose(statistics[site.name].scale, expected.scale, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(statistics[site.name].shift, expected.shift, rtol=1e-4, atol=1e-6)


def test_only_the_fitting_batches_are_used():
    analysis = analyze(residual())
    x = smooth(16, 3, 8)
    changed = x.copy()
    changed[8:] = 100
    maps = [statistics_of(analysis, calibration_of({"x": v}, batch=8, fit_batches=1)) for v in (x, changed)]
    for name in maps[0]:
        np.testing.assert_array_equal(maps[0][name].scale, maps[1][name].scale)


def test_every_site_is_a_step():
    steps = []
    analysis = analyze(residual())
    collect_statistics(
        analysis, analysis.sites, calibration_of({"x": smooth(8, 3, 8)}, batch=4), lambda: steps.append(1)
    )
    assert len(steps) == 5


def test_sites_that_read_the_same_tensor_or_each_other():
    model = build(
        """(float[N,3,4,4] x) => (float[N,3,4,4] y) {
            h = Conv(x, w)
            a = Relu(h)
            b = LeakyRelu(h)
            c = Relu(b)
            d = Tanh(a)
            e = Relu(d)
            f = Add(c, e)
            y = Add(f, a)
        }""",
        w=(3, 3, 1, 1),
    )
    statistics = statistics_of(analyze(model), calibration_of({"x": signed((8, 3, 4, 4))}, batch=4))
    assert set(statistics) == {"a", "b", "c", "e"}


def test_what_lies_behind_the_last_site_is_not_run(monkeypatch):
    made = set()
    build_segment = cursor_module.build_segment

    def recording(*args):
        model, reads = build_segment(*args)
        made.update(node.output[0] for node in model.graph.node)
        return model, reads

    monkeypatch.setattr(cursor_module, "build_segment", recording)
    statistics_of(analyze(residual()), calibration_of({"x": smooth(8, 3, 8)}, batch=4))
    assert "r4" in made
    assert not made & {"p", "f", "y"}


# Errors, ranges and pixels.


def values_at(model, x, names):
    """Inner tensors by onnx's reference."""
    return dict(zip(names, ReferenceEvaluator(with_outputs(model, names)).run(None, {"x": x}), strict=True))


def test_errors_are_those_on_the_batches_that_are_not_fitted_on():
    model, x = chain(), np.concatenate([smooth(16, 3, 8), 2 * smooth(16, 3, 8, 1) + 1])
    found = statistics_of(analyze(model), calibration_of({"x": x}, batch=8, fit_batches=2))["r"]
    values = values_at(model, x, ["h", "r"])
    z, y = (values[name].astype(np.float64) for name in ("h", "r"))
    for channel in range(5):
        fitted, judged = slice(0, 16), slice(16, None)
        line = np.polyfit(z[fitted, channel].ravel(), y[fitted, channel].ravel(), 1)
        bent = [getattr(found.parabola, name)[channel] for name in ("square", "linear", "constant")]
        for errors, curve in ((found.affine_error, line), (found.quadratic_error, bent)):
            left = np.mean((np.polyval(curve, z[judged, channel]) - y[judged, channel]) ** 2)
            assert errors[channel] == pytest.approx(left, rel=1e-3)
    np.testing.assert_allclose(found.low, z.min((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.high, z.max((0, 2, 3)), rtol=1e-5)
    assert found.pixels is None


def test_watched_samples_widen_the_ranges_and_nothing_is_fitted_to_them():
    analysis, watched = analyze(chain()), {"x": 3 * smooth(8, 3, 8, seed=5)}
    calibration = calibration_of({"x": smooth(24, 3, 8)}, batch=8, fit_batches=2)
    plain, found = (
        collect_statistics(analysis, analysis.sites, each)["r"]
        for each in (calibration, replace(calibration, watched=[watched]))
    )
    for name in ("scale", "shift", "affine_error"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    z, y = values_at(chain(), watched["x"], ["h", "r"]).values()
    np.testing.assert_allclose(found.low, np.minimum(plain.low, z.min((0, 2, 3))), rtol=1e-5)
    np.testing.assert_allclose(found.high, np.maximum(plain.high, z.max((0, 2, 3))), rtol=1e-5)
    assert found.peak == pytest.approx(max(plain.peak, y.max()), rel=1e-5)
    assert found.peak > plain.peak == plain.most.max()


def test_pixels_have_polynomials_of_their_own():
    model, x = chain(), smooth(40, 3, 8)
    analysis = analyze(model)
    calibration = calibration_of({"x": x}, batch=10, fit_batches=3)
    found = collect_statistics(analysis, analysis.sites, calibration, pixels=True)["r"]
    values = values_at(model, x, ["h", "r"])
    z, y = (values[name].astype(np.float64) for name in ("h", "r"))
    pixels = found.pixels
    assert pixels.scale.shape == pixels.quadratic_error.shape == pixels.parabola.square.shape == (5, 8, 8)
    for place in ((0, 0, 0), (4, 7, 2), (2, 3, 5)):
        line = np.polyfit(z[:30, *place], y[:30, *place], 1)
        np.testing.assert_allclose([pixels.scale[place], pixels.shift[place]], line, rtol=1e-3, atol=1e-5)
        left = np.mean((np.polyval(line, z[30:, *place]) - y[30:, *place]) ** 2)
        assert pixels.affine_error[place] == pytest.approx(left, rel=1e-3, abs=1e-7)


def test_a_tensor_without_channels_has_no_pixels():
    analysis = analyze(build("(float[N,6,6] x) => (float[N,6,6] y) { y = Relu(x) }"))
    calibration = calibration_of({"x": signed((8, 6, 6))}, batch=4)
    assert collect_statistics(analysis, analysis.sites, calibration, pixels=True)["y"].pixels is None


def test_values_that_single_precision_cannot_square_are_refused():
    model = build("(double[N,4] x) => (double[N,3] y) { h = Gemm(x, w1) r = Relu(h) y = Gemm(r, w2) }",
                  w1=1e60 * np.ones((4, 5)), w2=np.ones((5, 3)))  # fmt: skip
    with pytest.raises(
        ModelError, match=r"Activation 'r' reads values up to .*e\+\d+, and layers are fitted in single"
    ):
        statistics_of(
            analyze(model), calibration_of({"x": np.linspace(-1, 1, 32).reshape(8, 4)}, batch=4, fit_batches=1)
        )
