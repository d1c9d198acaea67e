from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search.candidates import find_every_candidate
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget
from onnxshallow.validation.gates import Limits
from tests.networks import smooth
from tests.runs import load_case


@pytest.fixture
def start(tmp_path):
    """Begin a run on a small network with some options; nothing is measured yet."""

    def begun(cache=None, **options):
        return Run.begin(load_case(tmp_path, **options), Silent(), Clock(), cache)

    return begun


@pytest.mark.parametrize(
    ("samples", "told"), [(np.zeros((40, 3, 6, 6), np.float32), True), (smooth(40, 3, 6), False)]
)
def test_samples_that_prove_nothing_are_told_before_the_work(tmp_path, caplog, samples, told):
    inputs = load_case(tmp_path, target_relus=0.7)
    calibration = replace(inputs.calibration, batches=[{"x": samples}, {"x": samples}], fit_batches=1)
    Run.begin(replace(inputs, calibration=calibration), Silent(), Clock())
    assert ("hold one value only, and prove nothing" in caplog.text) is told


def plan_of(run, *keys):
    every = {c.key: c for c in find_every_candidate(run.inputs)}
    return Plan(tuple(every[key] for key in keys), {})


def test_a_run_begins_with_what_the_original_does(start):
    run = start(target_relus=0.7)
    assert set(run.observation.statistics) == {"r0", "r1", "r2"}
    assert list(run.clock.seconds) == ["observe"]
    assert run.competed == []


def test_what_a_plan_needs_is_observed(tmp_path):
    inputs = load_case(tmp_path)
    plain = Run.begin(inputs, Silent(), Clock())
    asked = Run.begin(inputs, Silent(), Clock(), plan=plan_of(plain, "mask:kept18pixels:h1->r1"))
    assert plain.observation.statistics["r1"].pixels is None
    assert asked.observation.statistics["r1"].pixels is not None


@pytest.mark.parametrize(("options", "watched"), [({}, False), ({"polynomials": True}, True)])
def test_samples_are_watched_where_squares_are_possible(start, options, watched):
    run, plain = start(target_relus=0.7, **options), start(target_relus=0.7)
    assert bool(run.inputs.calibration.watched) is watched
    further, usual = (one.observation.statistics["r1"] for one in (run, plain))
    assert bool(np.any(further.high > usual.high)) is watched
    np.testing.assert_allclose(further.scale, usual.scale, rtol=1e-6)


@pytest.mark.parametrize(("key", "watched"), [("linearize:h1->r1", False), ("quadratic:kept0:h1->r1", True)])
def test_samples_are_watched_where_a_plan_squares(tmp_path, key, watched):
    inputs = load_case(tmp_path)
    plan = plan_of(Run.begin(inputs, Silent(), Clock()), key)
    assert bool(Run.begin(inputs, Silent(), Clock(), plan=plan).inputs.calibration.watched) is watched


def test_damages_are_kept_where_they_are_asked_for(start, tmp_path):
    run = start(cache=tmp_path / "own", target_relus=0.7)
    assert not (tmp_path / "own").exists()
    assert run.meter.measure_all().damages
    assert list((tmp_path / "own").iterdir())


def test_the_plans_that_competed_are_remembered(start):
    run = start(target_relus=0.7)
    relus = run.inputs.analysis.cost.relus
    found = run.search([Budget(relus * 7 // 10), Budget(1), Budget(relus // 2)], 3)
    assert isinstance(found[1], TargetError)
    assert run.competed == [*found[0], *found[2]]
    assert 0 < len(found[0]) <= 3
    assert {"sensitivity", "plan"} <= set(run.clock.seconds)


def test_the_frontier_is_expected_of_what_was_measured(start):
    run = start(target_relus=0.7)
    assert run.frontier() == []
    run.meter.measure_all()
    frontier = run.frontier()
    assert [plan.damage for plan in frontier] == sorted(plan.damage for plan in frontier)
    assert len(frontier) > 1
    assert start(target_relus=0.7, sensitivity="magnitude").frontier() == []


def test_where_nothing_is_measured_no_candidate_is_priced_for_the_frontier(start):
    run = start(target_macs=0.7, allocation="minmax")
    assert run.frontier() == []
    assert "meter" not in vars(run)


def test_an_attempt_is_a_plan_carried_out_and_compared(start):
    run = start(target_relus=0.7)
    attempt = run.attempt(plan_of(run, "linearize:h1->r1"))
    assert attempt.plan.keys == {"linearize:h1->r1"}
    assert attempt.realized.analysis.cost.relus == 288
    assert attempt.comparison.fidelity.samples == len(run.inputs.data.report)
    assert list(run.clock.seconds) == ["observe", "fit", "validate"]


def test_labels_decide_where_they_are_those_of_validation_data(start, tmp_path):
    np.savez(tmp_path / "held-out.npz", x=smooth(20, 3, 6), y=np.arange(20) % 6)
    for given, decide in (({}, False), ({"validate": str(tmp_path / "held-out.npz")}, True)):
        run = start(target_relus=0.7, **given)
        attempt = run.attempt(plan_of(run))
        assert attempt.labels_decide is decide
        assert attempt.loss.value == 0


def test_gates_are_those_of_the_options_where_samples_are_real(start):
    for given, limits in (({"max_drop": 0.2}, Limits(max_drop=0.2)), ({}, Limits()), ({"calib": None}, None)):
        run = start(target_relus=0.7, calib_samples=20, **given)
        attempt = run.attempt(plan_of(run))
        assert attempt.limits == limits
        assert bool(attempt.gates) is (limits is not None)


def test_a_plan_is_proposed_without_being_carried_out(start):
    run = start(target_relus=0.7)
    plan = run.proposal(run.inputs.budget)
    assert sum(c.relus for c in plan.candidates) >= 0.3 * run.inputs.analysis.cost.relus
    assert plan.damage is None
    assert plan.damages.keys() == plan.keys
    assert run.competed == []
