"""`optimize` without a target."""

import numpy as np
import onnx
import pytest

from onnxshallow import optimize
from onnxshallow.analysis import analyze
from onnxshallow.model.document import as_document
from onnxshallow.rewriting.lossless import Removed
from onnxshallow.search import attempt
from onnxshallow.workflows import lossless as workflow
from onnxshallow.workflows import outcome
from tests.conftest import MODELS
from tests.graphs import assert_same_function
from tests.networks import build, chain, residual, run_exactly, smooth
from tests.runs import assert_error, run, speed_of


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(outcome, "measured_speeds", lambda inputs, models: [speed_of() for _ in models])


def test_without_a_target_only_what_changes_nothing_goes(tmp_path):
    model = onnx.load(MODELS / "digits-resnet.onnx")
    result = optimize(MODELS / "digits-resnet.onnx", validate=str(MODELS / "digits-validation.npz"), cache=False)
    assert result.error is None
    assert result.report.lossless is not None
    assert result.report.lossless.folded == 14
    assert result.report.optimized is not None
    assert result.report.optimized.relus == result.report.original.relus
    assert result.report.fidelity is not None
    assert result.report.fidelity.agreement == 1
    assert result.model is not None
    assert "BatchNormalization" not in {node.op_type for node in result.model.graph.node}
    assert_same_function(result.model, model)


def test_the_command_says_what_went(tmp_path):
    model = chain()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "spare"))
    onnx.save(model, tmp_path / "net.onnx")
    done = run("optimize", tmp_path / "net.onnx", "--calib-samples", "8")
    assert done.exit_code == 0, done.stderr
    assert "what changes nothing went: 1 weights that nothing read" in " ".join(done.stdout.split())
    assert (tmp_path / "net.shallow.onnx").exists()


def test_where_nothing_can_go_the_file_is_written_as_it_was(tmp_path):
    onnx.save(chain(), tmp_path / "net.onnx")
    done = run("optimize", tmp_path / "net.onnx", "--calib-samples", "8")
    assert done.exit_code == 0, done.stderr
    assert "there was nothing that could go without a change" in " ".join(done.stdout.split())
    assert onnx.load(tmp_path / "net.shallow.onnx") == as_document(tmp_path / "net.onnx").model


def test_with_a_target_denormal_weights_go_too(tmp_path):
    model = residual()
    weights = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0] = np.finfo(np.float32).tiny / 8
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    before = model.SerializeToString()
    result = optimize(model, target_relus=0.9, calib_samples=16, granularity="layer", cache=False)
    assert model.SerializeToString() == before
    made = [onnx.numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer]
    assert not any(((tensor != 0) & (abs(tensor) < 1e-38)).any() for tensor in made if tensor.dtype == np.float32)
    (said,) = [remark for remark in result.report.verdict.remarks if "denormal" in remark]
    assert said == f"what changes nothing went: {values[0].size} denormal weights made zero"


@pytest.mark.parametrize("extra", [{}, {"polynomials": True, "granularity": "channel"}])
def test_with_a_target_what_changes_nothing_goes_too(extra):
    text = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
        i = Identity(x) a = Conv(i, w0) r = Relu(a) c = Cast<to=1>(r) b = Conv(c, w1) s = Relu(b)
        h = Add(k, k) t = Mul(s, h) d = Conv(t, w2) u = Relu(d) y = Conv(u, w3) }"""
    weights = {f"w{place}": (4, 3 if place == 0 else 4, 1, 1) for place in range(4)}
    model = build(text, k=np.ones(1, np.float32), **weights)
    result = optimize(model, target_relus=0.7, calib_samples=32, cache=False, **extra)
    operators = [node.op_type for node in result.model.graph.node]
    assert not {"Identity", "Cast"} & set(operators)
    assert result.report.lossless.idle
    assert any(remark.startswith("what changes nothing went: ") for remark in result.report.verdict.remarks)
    assert result.report.optimized.relus == analyze(result.model).cost.relus
    feeds = {"x": smooth(5, 3, 8)}
    again = optimize(result.model, calib_samples=8, cache=False)
    np.testing.assert_allclose(run_exactly(again.model, feeds)[0], run_exactly(result.model, feeds)[0], rtol=1e-4)


def test_what_was_learned_is_written_without_what_changes_nothing(tmp_path):
    pytest.importorskip("torch")
    text = """(float[N,3,8,8] x) => (float[N,4] y) {
        i = Identity(x) a = Conv(i, w0) r = Relu(a) c = Cast<to=1>(r) b = Conv(c, w1) s = Max(b, zero)
        d = Conv(s, w2) g = GlobalAveragePool(d) y = Flatten(g) }"""
    weights = {f"w{place}": (4, 3 if place == 0 else 4, 1, 1) for place in range(3)}
    np.savez(tmp_path / "x.npz", x=smooth(64, 3, 8))
    model = build(text, zero=np.zeros((), np.float32), **weights)
    options = dict(calib=str(tmp_path / "x.npz"), calib_samples=32, finetune="4steps", granularity="channel")
    result = optimize(model, target_relus=0.6, cache=False, force=True, **options)
    operators = [node.op_type for node in result.model.graph.node]
    assert result.report.training.steps == 4
    assert not {"Identity", "Cast"} & set(operators)


def test_what_moves_the_outputs_is_refused(tmp_path, monkeypatch):
    def damaged(model, shapes, bound):
        made = onnx.ModelProto()
        made.CopyFrom(model)
        tensor = made.graph.initializer[0]
        tensor.CopyFrom(onnx.numpy_helper.from_array(1.01 * onnx.numpy_helper.to_array(tensor), tensor.name))
        return made, Removed(1, 0, 0, 0, 0, 0)

    monkeypatch.setattr(attempt, "lossless", damaged)
    onnx.save(chain(), tmp_path / "net.onnx")
    done = run("optimize", tmp_path / "net.onnx", "--calib-samples", "8")
    assert_error(done, 4, "though nothing was left out")
    assert not (tmp_path / "net.shallow.onnx").exists()


def test_training_needs_a_target(tmp_path):
    onnx.save(chain(), tmp_path / "net.onnx")
    assert_error(run("optimize", tmp_path / "net.onnx", "--finetune", "5steps"), 2, "say how far to go")


@pytest.mark.parametrize(("times", "refused"), [(-1.0, True), (10.0, False)])
def test_a_network_that_blows_rounding_up_is_no_defect(tmp_path, monkeypatch, times, refused):
    """What moves an output is held against what onnxruntime's own rewriting does to it."""
    onnx.save(chain(), tmp_path / "net.onnx")
    monkeypatch.setattr(workflow, "_MOST_MOVED", -1.0)
    monkeypatch.setattr(workflow, "_AS_MUCH", times)
    output = chain().graph.output[0].name
    monkeypatch.setattr(workflow, "_own_rounding", lambda inputs: {output: 0.2})
    result = optimize(tmp_path / "net.onnx", cache=False)
    assert (result.error is not None) == refused
    assert ("defect" in str(result.error)) == refused
    assert any("as rounding moves it" in reason for reason in result.report.verdict.reasons) == (not refused)


def test_what_rounding_moves_hides_no_defect_behind_it(monkeypatch, tmp_path):
    model = build(
        "(float[N,3,4,4] x) => (float[N,2,4,4] y, float[N,2,4,4] z) { y = Conv(x, v) z = Conv(x, w) }",
        v=(2, 3, 1, 1),
        w=(2, 3, 1, 1),
    )
    onnx.save(model, tmp_path / "net.onnx")
    monkeypatch.setattr(workflow, "_MOST_MOVED", -1.0)
    monkeypatch.setattr(workflow, "_AS_MUCH", 1.0)
    monkeypatch.setattr(workflow, "_own_rounding", lambda inputs: {"y": 0.2, "z": -1.0})
    result = optimize(tmp_path / "net.onnx", cache=False)
    assert "'z' moved by" in str(result.error)
    assert "defect" in str(result.error)
