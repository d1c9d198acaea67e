import numpy as np
import onnx

from onnxshallow.analysis import analyze
from onnxshallow.fitting.moments import response
from onnxshallow.runtime import frontier as frontier_module
from onnxshallow.sensitivity.evidence import collect_evidence
from tests.networks import build, calibration_of, evidence_of, residual, run_exactly, signed, smooth


def test_the_maps_are_those_of_each_sites_own_values():
    model = residual()
    x = smooth(8, 3, 8)
    analysis = analyze(model)
    evidence = evidence_of(analysis, calibration_of({"x": x}, batch=4, fit_batches=2))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    names = [name for site in analysis.sites for name in (site.source, site.output)]
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    probe.graph.output.extend(value for value in inferred if value.name in names)
    values = dict(zip((v.name for v in probe.graph.output), run_exactly(probe, {"x": x}), strict=True))
    for site in analysis.sites:
        expected = response([(values[site.source], values[site.output])], site.channels)
        np.testing.assert_allclose(evidence[site.name].scale, expected.scale, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(evidence[site.name].shift, expected.shift, rtol=1e-4, atol=1e-6)


def test_only_the_fitting_batches_are_used():
    analysis = analyze(residual())
    x = smooth(16, 3, 8)
    changed = x.copy()
    changed[8:] = 100
    maps = [evidence_of(analysis, calibration_of({"x": v}, batch=8, fit_batches=1)) for v in (x, changed)]
    for name in maps[0]:
        np.testing.assert_array_equal(maps[0][name].scale, maps[1][name].scale)


def test_every_site_is_a_step():
    steps = []
    analysis = analyze(residual())
    collect_evidence(
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
    evidence = evidence_of(analyze(model), calibration_of({"x": signed((8, 3, 4, 4))}, batch=4))
    assert set(evidence) == {"a", "b", "c", "e"}


def test_what_lies_behind_the_last_site_is_not_run(monkeypatch):
    made = set()
    build_segment = frontier_module.build_segment

    def recording(*args):
        model, reads = build_segment(*args)
        made.update(node.output[0] for node in model.graph.node)
        return model, reads

    monkeypatch.setattr(frontier_module, "build_segment", recording)
    evidence_of(analyze(residual()), calibration_of({"x": smooth(8, 3, 8)}, batch=4))
    assert "r4" in made
    assert not made & {"p", "f", "y"}
