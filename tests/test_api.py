import subprocess
import sys

import numpy as np
import onnx
import pytest

import onnxshallow
from onnxshallow import Analysis, Config, OnnxshallowError, Report, Result, analyze, apply_plan, optimize
from onnxshallow.errors import AccuracyError, DataError, ModelError, TargetError, UsageError
from onnxshallow.planning.plan import save_plan
from tests.graphs import run_plain
from tests.networks import smooth
from tests.runs import assert_usable, files, net, save_case


@pytest.fixture
def case(tmp_path):
    model, data = save_case(tmp_path)
    return str(model), {"calib": str(data), "sensitivity": "magnitude"}


def test_the_public_names_are_there():
    assert all(getattr(onnxshallow, name) is not None for name in onnxshallow.__all__)
    with pytest.raises(AttributeError, match="shrink"):
        onnxshallow.shrink  # noqa: B018
    assert onnxshallow.__version__.count(".") == 2


def test_importing_the_package_imports_nothing_heavy():
    code = "import onnxshallow, sys; print({'onnxruntime', 'torch', 'scipy', 'onnx', 'numpy'} & set(sys.modules))"
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
