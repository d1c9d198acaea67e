import numpy as np
import onnx
import pytest

from benchmarks import agreement
from benchmarks.agreement import Case, Row, judged, made_up, modes_of
from onnxshallow.report.schema.reports import FileReport, ValidationReport
from onnxshallow.report.schema.sections import Verdict
from onnxshallow.validation.compare import Fidelity
from onnxshallow.validation.gates import Gate
from onnxshallow.validation.growth import Growth, Stability
from onnxshallow.validation.judgement import Finding, judge
from tests.report.pages import REPORT
from tests.runs import net

LOST = Finding("accuracy", "Too much is lost.", refuses=True)
UNSTABLE = Finding("stability", "It is not stable.", refuses=True)
FITTED = Finding("data", "All samples of a.npz are the same.", refuses=True)
CHECKED = Finding("data", "All samples of b.npz are the same.", refuses=True)


def verdict(*findings):
    found = judge(findings)
    return Verdict(
        status=found.status, exit_code=found.exit_code, validated=True, reasons=[], findings=found.findings
    )


def optimized(*findings, **more):
    return REPORT.model_copy(update={"verdict": verdict(*findings), "config": {"calib": "a.npz"}} | more)


def validated(*findings, gates=(), stability=None):
    file = FileReport(path="a.onnx", sha256=None)
    fidelity = Fidelity(samples=4, agreement=None, kl=None, relative_error={})
    return ValidationReport(
        original=file, optimized=file, original_accuracy=None, optimized_accuracy=None, fidelity=fidelity,
        verdict=verdict(*findings), gates=list(gates), stability=stability,
    )  # fmt: skip


def growing(calibration, validation):
    return Stability((Growth("calibration samples, blur", 4, calibration, "r"), on_samples(validation)), ())


def on_samples(factor, name="validation samples"):
    return Growth(name, 4, factor, "r")


def test_the_same_verdict_agrees_and_another_does_not():
    assert judged(optimized(), validated()) == "yes"
    assert judged(optimized(LOST), validated(LOST)) == "yes"
    assert judged(optimized(CHECKED), validated(CHECKED)) == "yes"
    assert judged(optimized(LOST), validated()) == "NO"
    assert judged(optimized(), validated(LOST)) == "NO"
    assert judged(optimized(LOST), validated(CHECKED)) == "NO"


def test_gates_that_differ_disagree_though_the_verdict_is_the_same():
    gates = [Gate("max-drop", 0.05, value, True) for value in (0.01, 0.02)]
    assert judged(optimized(gates=gates[:1]), validated(gates=gates[:1])) == "yes"
    assert judged(optimized(gates=gates[:1]), validated(gates=gates[1:])) == "NO"


@pytest.mark.parametrize("about", ["target", "speed"])
def test_what_validate_cannot_see_is_not_compared_unless_it_finds_something(about):
    refused = optimized(Finding(about, "Missed.", refuses=True))
    assert judged(refused, validated()) == "not comparable"
    assert judged(refused, validated(LOST)) == "NO"
    assert judged(optimized(Finding(about, "Missed.", refuses=True), LOST), validated(LOST)) == "yes"


def test_what_speaks_against_the_calibration_samples_is_not_seen():
    steady, steep = (Stability((on_samples(factor, "samples"),), ()) for factor in (1.0, 100.0))
    assert judged(optimized(FITTED), validated()) == "not comparable"
    unstable = optimized(UNSTABLE, stability=growing(100.0, 1.0))
    assert judged(unstable, validated(stability=steady)) == "not comparable"
    unstable = optimized(UNSTABLE, stability=growing(1.0, 100.0))
    assert judged(unstable, validated(stability=steep)) == "NO"
    assert judged(unstable, validated(UNSTABLE, stability=steep)) == "yes"


def test_growth_that_only_one_of_them_looks_for_is_noticed():
    assert judged(optimized(stability=growing(1.0, 2.0)), validated()) == "NO"


def test_growth_may_be_told_in_any_order():
    seen = [on_samples(2.0, "validation samples, blur"), on_samples(1.0, "validation samples")]
    first = optimized(stability=Stability(tuple(seen), ()))
    again = [on_samples(1.0, "samples"), on_samples(2.0, "samples, blur")]
    assert judged(first, validated(stability=Stability(tuple(again), ()))) == "yes"


def test_made_up_samples_to_validate_on_are_others_than_those_to_calibrate_on(tmp_path):
    onnx.save(net(), tmp_path / "net.onnx")
    assert made_up(tmp_path / "net.onnx", tmp_path, 5, 3) == ("--config", str(tmp_path / "onnxshallow.toml"))
    first, second = (np.load(tmp_path / name)["x"] for name in ("calib.npz", "validate.npz"))
    assert (first.shape, second.shape) == ((5, 3, 6, 6), (3, 3, 6, 6))
    assert not any(np.array_equal(one, other) for one in first for other in second)


def test_the_larger_a_network_the_fewer_modes(tmp_path, monkeypatch):
    onnx.save(net(), tmp_path / "net.onnx")
    assert modes_of(tmp_path / "net.onnx") == list(agreement.MODES)
    monkeypatch.setattr(agreement, "_LARGE", 1)
    assert modes_of(tmp_path / "net.onnx") == ["layer"]
    monkeypatch.setattr(agreement, "_VERY_LARGE", 1)
    assert modes_of(tmp_path / "net.onnx") == []


def test_both_commands_are_run_and_a_gate_that_only_one_knows_is_noticed(tmp_path):
    onnx.save(net(), tmp_path / "net.onnx")
    given = made_up(tmp_path / "net.onnx", tmp_path, 32, 16)
    quick = ("--calib-samples", "32", "--sensitivity", "magnitude", "--keep-rejected", "--no-cache")
    row = Case(tmp_path / "net.onnx", "channel", given, (*quick, "--target-relus", "0.7", "--max-error", "0")).row()
    assert row == Row("net", "channel", "4: accuracy (accuracy)", row.validate, "NO")
    assert row.validate.startswith(("0: met", "4: accuracy"))
    row = Case(tmp_path / "net.onnx", "layer", given, (*quick, "--target-relus", "0.001")).row()
    assert (row.agree, row.validate) == ("no model", "-")
    assert row.optimize.startswith("5: The target of 0 ReLUs")
    row = Case(tmp_path / "net.onnx", "layer", given, (*quick, "--target-relus", "much")).row()
    assert (row.agree, row.optimize[0]) == ("NO", "2")
