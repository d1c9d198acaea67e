import json
from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.errors import DataError, UsageError
from onnxshallow.model.session import Session
from onnxshallow.options.config import Config
from onnxshallow.report.schema.reports import ParetoReport
from onnxshallow.search import run as run_module
from onnxshallow.search import time_budget as time_budget_module
from onnxshallow.search.pace import Pace
from onnxshallow.search.sensitivity import sweep as sweep_module
from onnxshallow.workflows import pareto as module
from onnxshallow.workflows.apply import apply_plan
from onnxshallow.workflows.optimize import optimize
from onnxshallow.workflows.pareto import DEFAULT_TARGETS, pareto
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, Noted, files, net, save_case, speed_of

# Of 432 ReLUs, no plan leaves fewer than 72: half of the channels of one layer, as `auto` allows masks.
TARGETS = ("0.5", 0.9, 0.01, "216", 0.7)


class Run:
    """A run of `pareto` on a small network with labelled data, and its folders."""

    def __init__(self, folder):
        self.folder, self.cache = folder / "case", folder / "cache"
        self.folder.mkdir()
        self.model, self.data = save_case(self.folder, labels=np.arange(60) % 6, x=smooth(60, 3, 6))
        self.report = pareto(self.model, targets=TARGETS, calib=str(self.data), cache=self.cache)

    @property
    def reached(self):
        """The points that have a plan."""
        return [point for point in self.report.points if point.plan is not None]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("pareto"))


def quick(model, data, targets, **options):
    """A run without a sweep."""
    return pareto(model, targets=targets, calib=str(data), sensitivity="magnitude", **options)


@pytest.mark.parametrize(
    ("options", "words"), [({"by": "x"}, "by one of relus, .*, and not by 'x'"), ({"targets": []}, "no targets")]
)
def test_a_frontier_of_nothing_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        pareto(net(), **options)


def carried_out(model, point, folder, **options):
    """What `apply_plan` reports of the plan of a point."""
    path = folder / "plan.json"
    path.write_text(json.dumps(point.plan))
    return apply_plan(model, path, **options).report


def without_clocks(report):
    """A report without what differs from run to run."""
    content = report.model_dump(exclude={"timings", "forecast"})
    for part in (content["original"], *(point["optimized"] for point in content["points"] if point["optimized"])):
        assert part.pop("latency_ms") > 0
    for point in content["points"]:
        point.pop("speed")
    return content


def test_there_is_one_point_a_target_the_largest_first(done):
    assert [point.target_relus for point in done.report.points] == [388, 302, 216, 4]


def test_points_keep_their_budget(done):
    before = done.report.original
    assert len(done.reached) == 3
    for point in done.reached:
        assert point.reason is None
        assert point.optimized.relus <= point.target_relus < before.relus
        assert point.optimized.macs <= before.macs


def test_a_target_out_of_reach_has_a_reason_and_nothing_else(done):
    point = done.report.points[-1]
    assert set(point.model_dump(exclude_none=True)) == {"target_relus", "reason"}
    assert "4 ReLUs" in point.reason
    assert "cannot be reached" in point.reason
    assert "72 ReLUs" in point.reason


def test_the_original_is_reported_once(done):
    original = done.report.original
    assert (original.relus, original.relu_nodes, original.conv_layers) == (432, 3, 3)
    assert original.accuracy.samples == 12
    assert original.size_bytes == len(done.model.read_bytes())


def test_what_is_lost_is_said_of_every_point(done):
    top1 = done.report.original.accuracy.top1
    for point in done.reached:
        assert point.accuracy_lost == pytest.approx(top1 - point.optimized.accuracy.top1)
        low, high = point.accuracy_lost_interval
        assert low <= point.accuracy_lost <= high
        assert point.fidelity.samples == 12
        assert point.damage > 0
    assert done.report.validated


def test_there_is_one_decision_a_site(done):
    for point in done.reached:
        assert [decision.name for decision in point.decisions] == ["r0", "r1", "r2"]
        stays = sum(decision.size for decision in point.decisions if decision.action == "keep")
        assert stays == point.optimized.relus


def test_nothing_is_written_but_the_cache(done):
    assert files(done.folder) == {"net.onnx", "data.npz"}
    assert sorted(name.split("-")[0] for name in files(done.cache)) == ["plans", "plans", "sweep"]


def test_optimize_at_the_target_of_a_point_measures_nothing_anew(done, monkeypatch):
    measured = []
    monkeypatch.setattr(sweep_module, "_damage_of", lambda *arguments: measured.append(1) or 0.0)
    (cached,) = done.cache.glob("sweep-*")
    before = cached.read_bytes()
    assert before
    for point in done.reached:
        result = optimize(done.model, target_relus=point.target_relus, calib=str(done.data), cache=done.cache)
        assert result.report.optimized.relus <= point.target_relus
    assert measured == []
    assert list(done.cache.glob("sweep-*")) == [cached]
    assert cached.read_bytes() == before


def test_carrying_out_the_plan_of_a_point_gives_the_point(done, tmp_path):
    for point in done.reached:
        report = carried_out(done.model, point, tmp_path, calib=str(done.data))
        # the written model says of what it was made, which takes bytes
        first, second = (
            replace(one, latency_ms=None, size_bytes=None) for one in (report.optimized, point.optimized)
        )
        assert first == second
        assert report.fidelity == point.fidelity
        assert report.decisions == point.decisions
        assert report.verdict.accuracy_lost == point.accuracy_lost


def test_the_report_can_be_written_and_read_again(done):
    assert ParetoReport.model_validate_json(done.report.model_dump_json()) == done.report


def test_the_timings_are_those_of_the_stages(done):
    stages = ["load", "forecast", "observe", "sensitivity", "plan", "fit", "validate", "latency"]
    assert list(done.report.timings) == stages


def test_the_same_run_without_a_cache_gives_the_same_report(done):
    again = pareto(done.model, targets=TARGETS[::-1], calib=str(done.data), cache=None)
    assert without_clocks(again) == without_clocks(done.report)


# Work that points share.


def counted(monkeypatch, owner, name):
    """A list of the arguments of every call of a function or method."""
    calls, function = [], getattr(owner, name)

    def counting(*arguments):
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(owner, name, counting)
    return calls


def test_points_of_one_plan_are_fitted_validated_and_timed_once(tmp_path, monkeypatch):
    fits, validations = (counted(monkeypatch, run_module, name) for name in ("carry_out", "judged"))
    report = quick(*save_case(tmp_path), [0.71, 0.7, 0.69])
    assert report.points[0].plan == report.points[1].plan == report.points[2].plan
    assert report.points[0].optimized == report.points[1].optimized == report.points[2].optimized
    assert len(fits) == len(validations) == 1


def test_the_original_runs_once_for_all_validations(tmp_path, monkeypatch):
    recorded = counted(monkeypatch, module.Recorded, "run")
    runs = counted(monkeypatch, Session, "run")
    monkeypatch.setattr(module, "measured_speeds", lambda inputs, models: [speed_of() for _ in models])
    report = quick(*save_case(tmp_path), [0.7, 0.4], batch_size=4)
    assert report.points[0].plan != report.points[1].plan
    (session,) = {id(call[0]._session): call[0]._session for call in recorded}.values()
    assert len(recorded) == 2 * 2
    assert sum(call[0] is session for call in runs) == 2


def test_a_fixed_batch_that_leaves_samples_over_is_validated_like_any_other(tmp_path):
    """Of nine samples four batches of two are compared, and every plan must meet the same four of the original."""
    fixed = build(NET.replace("[N,", "[2,"), **NET_WEIGHTS)
    model, data = save_case(tmp_path, fixed, x=smooth(45, 3, 6))
    report = quick(model, data, [0.9, 0.7, 0.5, 0.4])
    assert report.points[0].plan != report.points[-1].plan
    for point in report.points:
        alone = carried_out(model, point, tmp_path, calib=str(data), sensitivity="magnitude")
        assert point.fidelity == alone.fidelity


def test_every_model_has_its_own_latency(tmp_path, monkeypatch):
    """The times are made up, and count up: the original, then the plans from the largest target down."""
    monkeypatch.setattr(
        module, "measured_speeds", lambda inputs, models: [speed_of(1, 2 + n) for n, _ in enumerate(models)]
    )
    report = quick(*save_case(tmp_path), [0.4, 0.7, 0.69])
    assert report.original.latency_ms == 1
    assert report.points[0].plan == report.points[1].plan
    assert [point.optimized.latency_ms for point in report.points] == [2, 2, 3]


def test_the_users_progress_is_told(tmp_path):
    progress = Noted()
    quick(*save_case(tmp_path), [0.7], progress=progress)
    assert progress.stages[:2] == ["Reading activations", "Comparing plans"]
    assert progress.stages[-2:] == ["Rewriting and fitting", "Validating"]


# Targets and options.


def test_ten_targets_are_tried_by_default(tmp_path):
    model, data = save_case(tmp_path)
    report = pareto(model, calib=str(data), sensitivity="magnitude")
    assert len(DEFAULT_TARGETS) == 10
    assert [point.target_relus for point in report.points] == [int(432 * share + 1e-9) for share in DEFAULT_TARGETS]
    assert [point.reason is None for point in report.points] == [share > 1 / 3 for share in DEFAULT_TARGETS]


def test_where_a_target_is_met_already_nothing_changes(tmp_path):
    (point,) = quick(*save_case(tmp_path), [1]).points
    assert {decision.action for decision in point.decisions} == {"keep"}
    assert point.plan["actions"] == []
    assert point.fidelity.relative_error == {"y": 0.0}
    assert point.optimized.size_bytes == net().ByteSize()


def test_where_every_target_is_out_of_reach_the_original_is_described(tmp_path):
    report = quick(*save_case(tmp_path), [0.1, 0.2])
    assert [point.reason is not None for point in report.points] == [True, True]
    assert report.original.relus == 432
    assert report.original.latency_ms > 0
    assert "fit" not in report.timings


def test_multiply_adds_are_a_target_of_every_point(tmp_path):
    report = quick(*save_case(tmp_path), [0.7, 0.4], target_macs=0.7)
    for point in report.points:
        assert point.optimized.relus <= point.target_relus
        assert point.optimized.macs <= 0.7 * report.original.macs


def test_composed_kernels_say_how_exact_they_are(tmp_path):
    (point,) = quick(*save_case(tmp_path), [0.7], kernel="exact").points
    assert "border" in {decision.exactness for decision in point.decisions}
    assert point.fidelity.composition_error > 0


def test_a_target_among_the_options_is_not_used(tmp_path):
    model, data = save_case(tmp_path)
    report = pareto(model, targets=[0.7], config=Config(target_relus=0.4, calib=str(data), sensitivity="magnitude"))
    assert [point.target_relus for point in report.points] == [302]


def test_options_beside_the_model_count(tmp_path):
    model, data = save_case(tmp_path)
    (tmp_path / "onnxshallow.toml").write_text("seed = 3\n")
    assert quick(model, data, [0.7]).seed == 3


def test_without_labels_nothing_is_said_of_accuracy(tmp_path):
    report = quick(*save_case(tmp_path), [0.7])
    assert report.validated
    assert report.original.accuracy is None
    (point,) = report.points
    assert point.accuracy_lost is point.accuracy_lost_interval is point.optimized.accuracy is None
    assert 0 <= point.fidelity.agreement <= 1


def test_synthetic_data_claim_nothing(tmp_path):
    model, _ = save_case(tmp_path)
    report = pareto(model, targets=[0.7], calib_samples=40, sensitivity="magnitude")
    assert not report.validated
    assert report.original.accuracy is None
    assert report.points[0].accuracy_lost is report.points[0].optimized.accuracy is None
    assert "synthetic" in report.points[0].fidelity.source


def test_a_network_without_activations_has_one_empty_point(tmp_path):
    linear = build("(float[N,3,6,6] x) => (float[N,4,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", w=(4, 3, 3, 3))
    report = quick(*save_case(tmp_path, linear), [0.9, 0.5])
    (point,) = report.points
    assert (point.target_relus, point.plan["actions"], point.decisions) == (0, [], [])


@pytest.mark.parametrize("target", [1.5, -0.5, "half", "", True])
def test_a_malformed_target_is_a_usage_error_before_anything_is_measured(tmp_path, target):
    model, data = save_case(tmp_path)
    with pytest.raises(UsageError, match="target"):
        pareto(model, targets=[0.7, target], calib=str(data), cache=tmp_path / "cache")
    assert files(tmp_path) == {"net.onnx", "data.npz"}


def test_data_that_cannot_be_used_are_an_error(tmp_path):
    model, _ = save_case(tmp_path)
    with pytest.raises(DataError, match=r"none\.npz"):
        quick(model, tmp_path / "none.npz", [0.7])


def test_targets_of_parameters_come_with_the_largest_first(tmp_path):
    model, data = save_case(tmp_path, x=smooth(60, 3, 6))
    report = pareto(model, targets=[0.6, 0.8], by="params", calib=str(data), max_error=1e6, cache=None)
    assert [point.target for point in report.points] == [int(s * report.original.params) for s in (0.8, 0.6)]
    for point in report.points:
        assert point.reason is None
        assert point.optimized.params <= point.target


def test_the_weights_of_each_point_learn_where_that_is_asked_for(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")
    model, data = save_case(tmp_path, labels=np.arange(200) % 6, x=smooth(200, 3, 6))
    before, after = (
        quick(model, data, ["0.6", "0.4"], threads=1, augment="none", correction=False, **options)
        for options in ({}, {"finetune": "40steps"})
    )
    assert after.timings["train"] > 0
    assert "train" not in before.timings
    for plain, trained in zip(before.points, after.points, strict=True):
        assert trained.optimized.relus == plain.optimized.relus
        assert trained.fidelity.kl < plain.fidelity.kl


def test_without_samples_nothing_can_be_learned(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")
    model, _ = save_case(tmp_path, x=smooth(20, 3, 6))
    with pytest.raises(UsageError, match="Training needs real inputs"):
        pareto(model, targets=["0.6"], finetune="5steps")


def test_what_a_frontier_takes_is_foreseen_and_kept_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(time_budget_module, "measured_pace", lambda inputs: Pace(1e-4, 1e-9, 1e-8, 1e-4, 1e-2))
    model, data = save_case(tmp_path, x=smooth(40, 3, 6))
    whole, brief = (
        pareto(model, str(data), targets=(0.9, 0.7), time_budget=time, cache=None) for time in ("1h", "0.1s")
    )
    assert whole.forecast.actual_seconds > 0
    assert brief.forecast.seconds < whole.forecast.seconds
    assert set(whole.forecast.stages) <= {*whole.timings}
