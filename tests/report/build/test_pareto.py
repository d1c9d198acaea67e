from dataclasses import replace

import pytest

from onnxshallow.errors import TargetError
from onnxshallow.report.build.pareto import pareto_report
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.candidates import find_every_candidate
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from tests.runs import speed_of, stability_of


@pytest.fixture
def attempt(inputs, observation):
    """A plan that removes one of three sites, carried out and compared."""
    plan = Plan(tuple(c for c in find_every_candidate(inputs) if c.key == "linearize:h1->r1"), {}, 0.25)
    return Run(inputs, observation, Silent(), Clock()).attempt(plan)


def reported(inputs, *found, by="relus"):
    """The report of targets, each with what came of it."""
    option = f"target_{by}"
    asked = [
        (inputs.config.model_copy(update={"target_relus": None, option: target}), each) for target, each in found
    ]
    speeds = {attempt.plan.keys: speed_of(3.0, 2.0) for _, attempt in found if not isinstance(attempt, TargetError)}
    inputs = inputs if by == "relus" else replace(inputs, config=asked[0][0])
    return pareto_report(inputs, asked, by, speeds, 3.0, {"load": 0.5})


def test_a_target_that_was_reached_is_a_point_with_all_figures(inputs, attempt):
    report = reported(inputs, (300, attempt))
    (point,) = report.points
    assert (point.target_relus, point.reason, point.damage) == (300, None, 0.25)
    assert (point.optimized.relus, point.optimized.latency_ms) == (288, 2.0)
    assert point.fidelity == attempt.fidelity
    assert {d.name: d.action for d in point.decisions} == {"r0": "keep", "r1": "linearize", "r2": "keep"}
    assert [entry["output"] for entry in point.plan["actions"]] == ["r1"]
    assert point.accuracy_lost is None
    assert point.speed == speed_of(3.0, 2.0)


def test_the_original_and_the_run_are_described_once(inputs, attempt):
    report = reported(inputs, (300, attempt))
    assert (report.original.relus, report.original.latency_ms, report.timings) == (432, 3.0, {"load": 0.5})
    assert report.model.sha256 == inputs.document.sha256
    assert (report.validated, report.seed) == (inputs.data.validated, inputs.config.seed)


def test_a_target_without_a_model_says_why(inputs, attempt):
    refused = replace(attempt, stability=stability_of(7.5))
    report = reported(inputs, (2, TargetError("It cannot be reached.")), (300, refused))
    assert [(point.target_relus, point.optimized, point.plan) for point in report.points] == [
        (2, None, None),
        (300, None, None),
    ]
    assert report.points[0].reason == "It cannot be reached."
    assert report.points[1].reason.startswith(
        "It is not stable: on some samples, the activations of 'r2' grow to 7.5 "
    )
    assert (report.verdict.status, report.verdict.exit_code) == ("accuracy", 4)


def test_a_point_that_loses_too_much_says_so_beside_its_figures(inputs, attempt):
    lost = replace(attempt.comparison.fidelity, agreement=0.5)
    worse = replace(attempt, comparison=replace(attempt.comparison, fidelity=lost))
    report = reported(inputs, (300, worse), (300, attempt))
    bad, good = report.points
    assert bad.reason.startswith("50.00 points of agreement with the original are lost on ")
    assert good.reason is None
    assert bad.optimized == good.optimized
    assert report.verdict.exit_code == 0
    assert report.verdict.line.startswith("Goal met: 1 of 2 targets. A model that always says the same would pass")
    verdict = reported(inputs, (300, worse)).verdict
    assert (verdict.status, verdict.exit_code) == ("accuracy", 4)
    assert verdict.line.startswith("Not met: None of 1 targets")


@pytest.mark.parametrize(("samples", "doubtful"), [(12, 2), (500, 0)])
def test_points_that_few_samples_leave_in_doubt_are_counted(inputs, attempt, samples, doubtful):
    alike = replace(attempt.comparison.fidelity, agreement=1.0, samples=samples)
    found = replace(attempt, comparison=replace(attempt.comparison, fidelity=alike))
    line = reported(inputs, (300, found), (290, found), (200, found)).verdict.line
    assert line.startswith("Goal met: 2 of 3 targets.")
    said = f"{doubtful} of these may lose more than a gate allows, by so few samples; validate on more."
    assert (said in line) is bool(doubtful)


def test_a_point_with_more_relus_than_its_target_says_so(inputs, attempt):
    report = reported(inputs, (200, attempt))
    assert "leaves 288 ReLUs of the 200" in report.points[0].reason
    assert (report.verdict.status, report.verdict.exit_code) == ("target", 5)


def test_a_point_of_a_price_has_what_it_may_cost_and_what_it_costs(inputs, attempt):
    report = reported(inputs, ("500k", attempt), (0.01, attempt), by="bytes")
    assert (report.by, report.original.price_of) == ("bytes", "bytes under SEMI2K with a dealer with secret weights")
    first, second = report.points
    assert (first.target, first.target_relus, first.reason) == (500_000, 432, None)
    assert 0 < first.optimized.price < report.original.price
    assert second.reason.startswith(f"The best plan costs {second.optimized.price:.4g} bytes of the ")


@pytest.mark.parametrize("by", ["macs", "params", "size"])
def test_targets_may_be_of_what_else_is_counted(inputs, attempt, by):
    report = reported(inputs, (0.9, attempt), by=by)
    (point,) = report.points
    original = inputs.analysis.cost
    whole = {"macs": original.macs, "params": original.params, "size": original.size_bytes}[by]
    assert (report.by, point.target, point.target_relus) == (by, int(0.9 * whole), original.relus)
    assert "MACs" in point.reason if by == "macs" else "that --target-" + by in point.reason
