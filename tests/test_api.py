import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxshallow
from onnxshallow import (
    Analysis,
    Config,
    OnnxshallowError,
    Proposal,
    Report,
    Result,
    analyze,
    apply_plan,
    measure_sensitivity,
    optimize,
    pareto,
    plan,
)
from onnxshallow.errors import AccuracyError, DataError, ModelError, TargetError, UsageError
from onnxshallow.search.plan import save_plan
from tests.graphs import run_plain
from tests.networks import smooth
from tests.runs import assert_usable, files, net, save_case

MODELS = Path(__file__).resolve().parents[1] / "models"


@pytest.fixture
def case(tmp_path):
    model, data = save_case(tmp_path)
    return str(model), {"calib": str(data), "sensitivity": "magnitude"}


def test_the_public_names_are_there():
    assert all(getattr(onnxshallow, name) is not None for name in onnxshallow.__all__)
    with pytest.raises(AttributeError, match="shrink"):
        onnxshallow.shrink  # noqa: B018
    assert set(onnxshallow.__all__) <= set(dir(onnxshallow))
    assert onnxshallow.__version__.count(".") == 2


def test_no_module_takes_the_place_of_a_function():
    folder = Path(onnxshallow.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    assert not modules & set(onnxshallow.__all__)


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'onnxruntime', 'torch', 'scipy', 'onnx', 'numpy', 'pydantic', 'rich', 'typer'}"
    code = f"import onnxshallow, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


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


def test_a_broken_budget_is_an_error_that_save_raises(case, tmp_path):
    result = optimize(case[0], target_relus=0.4, max_drop=0.0, validate=_opposed(tmp_path), **case[1])
    assert isinstance(result.error, AccuracyError)
    assert result.model is not None
    with pytest.raises(AccuracyError, match="points of accuracy"):
        result.save(tmp_path / "small.onnx")
    assert "small.onnx" not in files(tmp_path)


def _opposed(folder):
    """Samples on which the original is right by a hair, so that whatever changes is lost."""
    inputs = 3 * np.random.default_rng(5).normal(size=(3000, 3, 6, 6)).astype(np.float32)
    (values,) = run_plain(net(), {"x": inputs})
    margin = np.diff(np.sort(values, axis=1)[:, -2:], axis=1)[:, 0]
    near = np.argsort(margin)[:60]
    np.savez(folder / "near.npz", x=inputs[near], y=values[near].argmax(axis=1))
    return str(folder / "near.npz")


def test_a_target_out_of_reach_is_an_error_that_save_raises(case, tmp_path):
    result = optimize(case[0], target_relus=0.01, **case[1])
    assert isinstance(result.error, TargetError)
    assert result.model is result.plan is None
    with pytest.raises(TargetError, match="144 ReLUs"):
        result.save(tmp_path / "small.onnx")


def test_apply_plan_repeats_a_result(case, tmp_path):
    model, options = case
    first = optimize(model, target_relus=0.7, **options)
    save_plan(first.plan, first.document.sha256, tmp_path / "plan.json")
    again = apply_plan(model, tmp_path / "plan.json", calib=options["calib"])
    assert again.model == first.model


def test_apply_plan_takes_a_plan(case):
    model, options = case
    first = optimize(model, target_relus=0.7, **options)
    again = apply_plan(net(), first.plan, smooth(40, 3, 6))
    assert again.model == first.model
    with pytest.raises(UsageError, match=r"Entry 0 of the plan .* is not possible"):
        apply_plan(MODELS / "digits-resnet.onnx", first.plan, MODELS / "digits-calibration.npz")


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


def test_a_model_in_memory_has_no_folder_for_its_data():
    given = net()
    onnx.external_data_helper.set_external_data(given.graph.initializer[0], "weights.data")
    given.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelError, match=r"'w0' .* lies in a data file.*give the model's path"):
        optimize(given, target_relus=0.7)
    with pytest.raises(ModelError, match="holds no graph"):
        analyze(onnx.ModelProto())


def test_every_stage_takes_a_model_in_memory():
    data, options = smooth(40, 3, 6), {"sensitivity": "magnitude", "cache": None}
    report = measure_sensitivity(net(), data, **options)
    assert [site.name for site in report.sites] == ["r0", "r1", "r2"]
    points = pareto(net(), data, targets=[0.7], **options).points
    assert points[0].optimized.relus <= 0.7 * 432
    assert analyze(net()).cost.relus == 432


def test_plan_says_what_would_be_done_and_makes_no_model(case, tmp_path, monkeypatch):
    model, options = case
    proposal = plan(model, target_relus=0.7, cache=tmp_path / "cache", **{**options, "sensitivity": "kl"})
    assert isinstance(proposal, Proposal)
    report = proposal.report
    assert report.original.relus == 432
    assert report.damage == proposal.plan.predicted >= 0
    proposal.save(tmp_path / "plan.json")
    done = apply_plan(model, tmp_path / "plan.json", calib=options["calib"])
    for name in ("relus", "macs", "depth", "params", "conv_layers"):
        assert getattr(done.report.optimized, name) == getattr(report.predicted, name)
    assert "ReLUs 432 -> " in repr(proposal)


def test_plan_needs_a_target_that_can_be_reached(case, caplog):
    model, options = case
    with pytest.raises(UsageError, match="--target-relus"):
        plan(model, max_drop=0.1, **options)
    with caplog.at_level("WARNING"):
        plan(model, max_drop=0.1, target_relus=0.7, **options)
    assert "--max-drop is not looked at" in caplog.text
    with pytest.raises(TargetError, match="144 ReLUs"):
        plan(model, target_relus=0.01, **options)


def test_a_result_is_shown_in_a_line(case, tmp_path):
    model, options = case
    shown = repr(optimize(model, target_relus=0.7, **options))
    assert shown.startswith("<Result: met, ReLUs 432 -> 288 (0.667), depth 4 -> ")
    assert "same class for" in shown
    labelled = (smooth(40, 3, 6), np.arange(40) % 6)
    assert "top-1" in repr(optimize(model, target_relus=0.7, validation=labelled, **options))
    assert repr(optimize(model, target_relus=0.01, **options)) == "<Result: target>"


def test_a_result_saves_its_plan(case, tmp_path):
    model, options = case
    result = optimize(model, target_relus=0.7, **options)
    result.save_plan(tmp_path / "plan.json")
    assert apply_plan(model, str(tmp_path / "plan.json"), **options).plan.keys == result.plan.keys
    with pytest.raises(TargetError):
        optimize(model, target_relus=0.01, **options).save_plan(tmp_path / "none.json")


def test_providers_are_an_option(case):
    model, options = case
    plain = optimize(model, target_relus=0.7, **options)
    assert optimize(model, target_relus=0.7, providers="cpu", **options).model == plain.model
    with pytest.raises(UsageError, match="no execution provider 'abacus'"):
        optimize(model, target_relus=0.7, providers=["abacus"], **options)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (UsageError, {"target_relus": 1.5}),
        (UsageError, {}),
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


def test_a_result_cannot_be_saved_to_nowhere(case, tmp_path):
    with pytest.raises(ModelError, match="Cannot write"):
        optimize(case[0], target_relus=0.7, **case[1]).save(tmp_path / "none" / "small.onnx")


def test_analyze_counts():
    analysis = analyze(net())
    assert isinstance(analysis, Analysis)
    assert analysis.cost.relus == 432


def test_two_models_are_compared_from_python(tmp_path):
    model, inputs = net(), smooth(40, 3, 6)
    report = onnxshallow.validate(model, model, inputs, metrics=[lambda outputs, labels: outputs["y"].max(axis=1)])
    assert (report.verdict.exit_code, report.fidelity.samples, report.fidelity.agreement) == (0, 40, 1.0)
    assert report.metrics[0].difference == 0
    assert report.metrics[0].name == "<lambda>"
    onnx.save(model, tmp_path / "net.onnx")
    assert onnxshallow.validate(tmp_path / "net.onnx", model, {"x": inputs}, max_drop=0).verdict.status == "met"
    with pytest.raises(UsageError, match="one and the same"):
        onnxshallow.validate(model, model, inputs, validate="data.npz")


def test_models_are_timed_from_python(tmp_path):
    model = net()
    onnx.save(model, tmp_path / "net.onnx")
    brief = onnxshallow.BenchOptions(runs=6)
    report = onnxshallow.bench(tmp_path / "net.onnx", model, measure=brief, threads=1)
    assert [timed.path for timed in report.models] == [str(tmp_path / "net.onnx"), "<memory>"]
    assert report.models[0].size_bytes == report.models[1].size_bytes > 0
    assert report.measurements[0].peak_memory_bytes > 0
    assert report.measurements[1].peak_memory_bytes is None
    assert any("<memory> is not known" in note for note in report.notes)
    with pytest.raises(UsageError, match="two models"):
        onnxshallow.bench(model)


def test_the_report_is_saved_as_json_or_as_a_page(case, tmp_path):
    path, options = case
    result = optimize(path, target_relus=0.7, cache=None, **options)
    result.save_report(tmp_path / "r.json")
    result.save_report(tmp_path / "r.html")
    assert Report.model_validate_json((tmp_path / "r.json").read_text(encoding="utf-8")) == result.report
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_unknown_provider_is_told_where_models_are_compared(tmp_path):
    model = net()
    for run in (
        lambda **o: onnxshallow.validate(model, model, smooth(4, 3, 6), **o),
        lambda **o: onnxshallow.bench(model, model, **o),
    ):
        with pytest.raises(UsageError, match="no execution provider 'abacus'"):
            run(providers="abacus")


def test_files_of_the_original_are_not_overwritten(case, tmp_path):
    path, options = case
    result = optimize(path, target_relus=0.7, cache=None, **options)
    link = tmp_path / "link.onnx"
    link.symlink_to(path)
    before = Path(path).read_bytes()
    for save in (result.save, result.save_plan, result.save_report):
        for target in (path, link):
            with pytest.raises(UsageError, match="belongs to the input model"):
                save(target)
    assert Path(path).read_bytes() == before
