import onnx
import pytest

from onnxshallow.errors import DataError, ModelError, OnnxshallowError, TargetError, UsageError
from onnxshallow.options.config import Config
from onnxshallow.report.schema.reports import Report
from onnxshallow.search import time_budget
from onnxshallow.search.pace import Pace
from onnxshallow.workflows.apply import apply_plan
from onnxshallow.workflows.optimize import optimize, plan
from onnxshallow.workflows.result import Proposal, Result
from tests.networks import smooth
from tests.runs import Noted, assert_usable, files, net, save_case


def test_the_timings_are_those_of_the_stages(tmp_path):
    path, data = save_case(tmp_path)
    timings = optimize(path, target_relus=0.7, calib=str(data), sensitivity="magnitude").report.timings
    assert list(timings) == ["load", "forecast", "observe", "sensitivity", "plan", "fit", "validate", "latency"]


def test_a_forecast_stands_beside_what_a_run_took(case):
    model, options = case
    told = optimize(model, target_relus=0.7, **options).report.forecast
    assert told.seconds == pytest.approx(sum(told.stages.values()), abs=0.5)
    assert told.actual_seconds > 0
    assert told.memory_bytes > 0


def test_little_time_makes_do_with_few_plans(tmp_path, monkeypatch):
    monkeypatch.setattr(time_budget, "measured_pace", lambda inputs: Pace(1e-3, 1e-9, 1e-9, 1e-4, 1e-3))
    path, data = save_case(tmp_path)
    whole, brief = (optimize(path, str(data), target_relus=0.7, time_budget=time).report for time in ("1h", "0.1s"))
    assert len(brief.plans) < len(whole.plans)
    assert brief.forecast.seconds < whole.forecast.seconds


def test_the_users_progress_is_told(tmp_path):
    progress = Noted()
    path, data = save_case(tmp_path)
    optimize(path, target_relus=0.7, calib=str(data), sensitivity="magnitude", progress=progress)
    assert progress.stages == ["Reading activations", "Comparing plans", "Rewriting and fitting", "Validating"]


def test_python_writes_nothing_by_itself(tmp_path):
    path, data = save_case(tmp_path)
    optimize(path, target_relus=0.7, calib=str(data), sensitivity="magnitude")
    assert files(tmp_path) == {"net.onnx", "data.npz"}


def test_optimize_takes_options_by_name(case, tmp_path):
    model, options = case
    result = optimize(model, target_relus=0.7, **options)
    assert isinstance(result, Result)
    assert isinstance(result.report, Report)
    assert result.error is None
    assert result.report.optimized.relus <= 0.7 * result.report.original.relus
    assert result.report.output is None
    result.save(tmp_path / "small.onnx")
    assert_usable(onnx.load(tmp_path / "small.onnx"), net(), {"x": smooth(3, 3, 6)})
    assert files(tmp_path) == {"net.onnx", "data.npz", "small.onnx"}


def test_optimize_takes_a_config(case):
    model, options = case
    by_name = optimize(model, target_relus="0.7", **options)
    by_config = optimize(model, config=Config(target_relus="0.7", **options), cache=None)
    assert by_config.model == by_name.model
    assert by_config.report.config == by_name.report.config


def test_options_beside_the_model_count(case, tmp_path):
    (tmp_path / "onnxshallow.toml").write_text("target-relus = 0.7\nseed = 3\n")
    assert optimize(case[0], **case[1]).report.seed == 3
    assert optimize(case[0], seed=4, **case[1]).report.seed == 4


def test_a_model_in_memory_gives_what_its_file_gives(case):
    model, options = case
    given = net()
    before = given.SerializeToString(deterministic=True)
    in_memory = optimize(given, smooth(40, 3, 6), target_relus=0.7, sensitivity="magnitude")
    assert in_memory.model == optimize(model, target_relus=0.7, **options).model
    assert in_memory.report.model.path == "<memory>"
    assert len(in_memory.report.model.sha256) == 64
    assert in_memory.report.config["calib"] == "<ndarray>"
    assert given.SerializeToString(deterministic=True) == before


def test_plan_says_what_would_be_done_and_makes_no_model(case, tmp_path, monkeypatch):
    model, options = case
    proposal = plan(model, target_relus=0.7, cache=tmp_path / "cache", **{**options, "sensitivity": "kl"})
    assert isinstance(proposal, Proposal)
    report = proposal.report
    assert report.original.relus == 432
    assert [(output.name, output.kind) for output in report.outputs] == [("y", "classes")]
    assert report.damage == proposal.plan.predicted >= 0
    proposal.save(tmp_path / "plan.json")
    done = apply_plan(model, tmp_path / "plan.json", calib=options["calib"])
    for name in ("relus", "macs", "depth", "params", "conv_layers"):
        assert getattr(done.report.optimized, name) == getattr(report.predicted, name)
    assert "ReLUs 432 -> " in repr(proposal)


def test_plan_counts_open_axes_by_the_sizes_of_the_samples(case, tmp_path):
    model, options = case
    open_axes = onnx.load(model)
    for axis, name in ((2, "height"), (3, "width")):
        open_axes.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(open_axes, tmp_path / "open.onnx")
    expected, found = (
        plan(path, target_relus=0.7, cache=None, **options).report for path in (model, tmp_path / "open.onnx")
    )
    assert (found.original.relus, found.predicted.relus) == (expected.original.relus, expected.predicted.relus)
    assert found.predicted.macs == expected.predicted.macs


def test_plan_needs_a_target_that_can_be_reached(case, caplog):
    model, options = case
    with pytest.raises(UsageError, match="--target-relus"):
        plan(model, max_drop=0.1, **options)
    with caplog.at_level("WARNING"):
        plan(model, max_drop=0.1, target_relus=0.7, **options)
    assert "--max-drop is not looked at" in caplog.text
    with pytest.raises(TargetError, match="144 ReLUs"):
        plan(model, target_relus=0.01, **options)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (UsageError, {"target_relus": 1.5}),
        (UsageError, {"finetune": "5steps"}),
        (UsageError, {"target_relu": 0.5}),
        (DataError, {"target_relus": 0.5, "validate": "none.npz"}),
    ],
)
def test_what_cannot_be_done_is_raised(case, error, options):
    with pytest.raises(error) as caught:
        optimize(case[0], **case[1], **options)
    assert isinstance(caught.value, OnnxshallowError)


def test_a_missing_model_is_raised(case, tmp_path):
    with pytest.raises(ModelError):
        optimize(tmp_path / "none.onnx", target_relus=0.5, **case[1])
