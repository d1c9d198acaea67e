import itertools
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from onnxshallow.actions.base import Candidate
from onnxshallow.actions.partial import InPart
from onnxshallow.analysis import analyze
from onnxshallow.model.document import load_document
from onnxshallow.options.config import resolve
from onnxshallow.report.build.run import (
    analysis_report,
    build_report,
    cost_report,
    sensitivity_report,
    site_reports,
)
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from onnxshallow.validation.compare import Accuracy, Comparison, Fidelity
from onnxshallow.validation.judgement import Finding, judge
from onnxshallow.validation.statistics import mcnemar
from tests.networks import build
from tests.runs import load_case, net, speed_of

FIDELITY = Fidelity(samples=10, source="a.npz", agreement=0.9, kl=0.01, relative_error={"y": 0.1})
ACCURACY = Accuracy(0.9, None, (0.8, 0.95), 10)


def labelled():
    right = np.array([True] * 9 + [False])
    return Comparison(ACCURACY, Accuracy(0.8, None, (0.7, 0.9), 10), FIDELITY, mcnemar(right, ~right), (0.0, 0.2))


def reported(inputs, comparison, findings=(), remarks=()):
    attempt = None
    if comparison is not None:
        attempt = Attempt(Plan((), {}), Realized(inputs.analysis.network, []), comparison, labels_decide=True)
    return build_report(inputs, attempt, speed_of(1.5, 1.0), judge(findings), ["a fact"], remarks, {"load": 1.0})


def test_costs_and_accuracies_are_copied():
    analysis = analyze(net())
    report = cost_report(analysis, ACCURACY, 0.5)
    assert vars(analysis.cost).items() <= vars(report).items()
    assert (report.size_bytes, report.latency_ms) == (net().ByteSize(), 0.5)
    assert report.accuracy == ACCURACY
    assert cost_report(analysis).accuracy is None


def test_an_analysis_is_reported(inputs):
    report = analysis_report(inputs.document, inputs.analysis)
    assert report.model.sha256 == inputs.document.sha256
    assert report.totals.size_bytes == inputs.document.path.stat().st_size
    assert [site.name for site in report.sites] == ["r0", "r1", "r2"]
    assert [(site.fusable, site.reason) for site in report.sites] == [(True, None)] * 3
    assert all(site.sensitivity is None and site.damages is None for site in report.sites)


def test_a_sensitivity_is_reported(inputs, measured):
    report = sensitivity_report(inputs, measured)
    assert (report.measure, report.samples, report.seed) == ("kl", 8, 0)
    assert report.outputs == inputs.kinds
    for site in site_reports(inputs.analysis, measured):
        assert site.damages == {c.key: measured.damages[c.key] for c in measured.candidates if site.name in c.sites}
        assert site.sensitivity in site.damages.values()


def test_the_sensitivity_of_a_site_is_that_of_its_removal(inputs, candidates):
    removal = candidates["linearize:h1->r1"]
    mask = InPart("mask", ("r1",), "h1", "r1", kept=3)
    square = InPart("quadratic", ("r1",), "h1", "r1", kept=0, squares=20)
    other = Candidate("bypass", ("r1",), "h1", "r1")
    damages = {other.key: 0.0625, mask.key: 0.125, square.key: 0.25, removal.key: 0.5}
    for order in itertools.permutations((other, mask, square, removal)):
        found = site_reports(inputs.analysis, MeasuredDamages(order, {}, damages))[1]
        assert (found.sensitivity, found.damages, found.best_merger) == (0.5, damages, None)


def test_the_best_merger_of_a_site_is_the_one_of_least_measured_damage(inputs, candidates):
    mergers = [c for c in candidates.values() if c.kind == "merger" and "r1" in c.sites][:3]
    damages = {"linearize:h1->r1": 0.1, mergers[0].key: 0.5, mergers[1].key: 0.25}
    found = site_reports(inputs.analysis, MeasuredDamages(tuple(candidates.values()), {}, damages))[1]
    assert found.best_merger == mergers[1].key


def test_a_goal_that_is_met(inputs):
    report = reported(inputs, labelled(), remarks=["a remark"])
    assert (report.verdict.status, report.verdict.exit_code, report.verdict.validated) == ("met", 0, True)
    assert report.verdict.accuracy_lost == pytest.approx(0.1)
    assert report.verdict.accuracy_lost_interval == (0.0, 0.2)
    assert report.verdict.mcnemar_p == labelled().mcnemar.p_value
    assert (report.verdict.line, report.verdict.reasons) == ("Goal met: a fact.", ["a remark"])
    assert (report.original.accuracy.top1, report.original.latency_ms) == (0.9, 1.5)
    assert (report.optimized.accuracy.top1, report.optimized.latency_ms) == (0.8, 1.0)
    assert report.speed == speed_of(1.5, 1.0)
    assert report.output is None


@pytest.mark.parametrize(("about", "code"), [("accuracy", 4), ("target", 5)])
def test_a_goal_that_is_not_met(inputs, about, code):
    comparison = labelled() if code == 4 else None
    verdict = reported(inputs, comparison, [Finding(about, "It is refused.", refuses=True)]).verdict
    assert (verdict.status, verdict.exit_code, verdict.reasons) == (about, code, ["It is refused."])
    assert verdict.line == "Not met: It is refused."
    assert verdict.validated == (code == 4)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"target_relus": 0.5}, "Target reached, not validated: a fact."),
        ({}, "Plan carried out, not validated: a fact."),
    ],
)
def test_synthetic_data_claim_nothing(tmp_path, options, line):
    report = reported(load_case(tmp_path, calib=None, calib_samples=20, **options), labelled())
    assert report.verdict.line == line
    assert report.original.accuracy is None
    assert report.verdict.validated is False
    assert report.verdict.accuracy_lost is report.verdict.accuracy_lost_interval is report.verdict.mcnemar_p is None
    assert report.verdict.reasons[0].startswith("not validated")


def test_the_report_of_a_real_run(inputs, candidates):
    run = Run.begin(inputs, Silent(), Clock())
    plan = Plan((candidates["fuse:5x5:border:x->h1"],), {})
    other = Plan((candidates["linearize:h2->r2"],), {}, 0.5)
    measured = MeasuredDamages(
        tuple(candidates.values()), {}, {"linearize:h2->r2": 0.5, "fuse:5x5:border:x->h1": 0.75}
    )
    vars(run)["meter"] = SimpleNamespace(measured=measured)
    run.competed.extend([other, plan, other])
    attempt = run.attempt(plan)
    report = build_report(inputs, attempt, speed_of(2.0, 1.0), judge([]), [], [], {}, run)
    assert report.optimized.size_bytes == attempt.realized.model.ByteSize()
    assert (report.optimized.relus, report.optimized.latency_ms) == (288, 1.0)
    assert report.fidelity.composition_error == pytest.approx(attempt.realized.composition_error)
    assert [(change.key, change.sites) for change in report.changes] == [("fuse:5x5:border:x->h1", ["r0"])]
    assert {(point.relus, point.damage, point.chosen) for point in report.plans} == {
        (inputs.analysis.cost.relus - other.candidates[0].relus, 0.5, False),
        (288, None, True),
    }
    assert len(report.plans) == 2
    assert [decision.least_damage for decision in report.decisions] == [0.75, None, 0.5]
    assert [node.op for node in report.original_nodes].count("Conv") == 3
    assert [node.op for node in report.optimized_nodes].count("Conv") == 2
    assert report.config["calib"] == inputs.config.calib
    assert [output.name for output in report.fidelity.outputs] == ["y"]
    assert sum(one.samples for one in report.classes) == report.fidelity.samples
    assert report.changed_total == round((1 - report.fidelity.agreement) * report.fidelity.samples)


def verdict_of(folder, text, **weights):
    path = folder / "net.onnx"
    onnx.save(build(text, **weights), path)
    options = {"calib_samples": 20, "target_relus": 0.5}
    inputs = load_inputs(load_document(path), resolve(options, path))
    return build_report(inputs, None, None, judge([]), [], [], {}).verdict


def test_a_network_without_relus_says_so(tmp_path):
    text = "(float[N,3,6,6] x) => (float[N,4,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w)\n y = Sigmoid(h) }"
    assert any("has no ReLU" in reason for reason in verdict_of(tmp_path, text, w=(4, 3, 3, 3)).reasons)


def test_a_quantized_network_says_so(tmp_path):
    text = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
        w = DequantizeLinear(q, scale)
        h = Conv<pads=[1,1,1,1]>(x, w)
        y = Relu(h)
    }"""
    quantized = np.ones((4, 3, 3, 3), np.int8)
    reasons = verdict_of(tmp_path, text, q=quantized, scale=0.5).reasons
    assert any("optimize the model before quantizing it" in reason for reason in reasons)
    assert not any("has no ReLU" in reason for reason in reasons)


def test_a_network_in_training_mode_says_so(tmp_path):
    text = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
        h = Conv<pads=[1,1,1,1]>(x, w)
        n, m, v = BatchNormalization<training_mode=1>(h, ones, zeros, zeros, ones)
        y = Relu(n)
    }"""
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    reasons = verdict_of(tmp_path, text, w=(4, 3, 3, 3), ones=ones, zeros=zeros).reasons
    assert any("runs in training mode" in reason for reason in reasons)
