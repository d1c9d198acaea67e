from pathlib import Path

import numpy as np
import pytest

from onnxshallow.errors import AccuracyError, ModelError, TargetError, UsageError
from onnxshallow.report.schema.reports import Report
from onnxshallow.workflows.apply import apply_plan
from onnxshallow.workflows.optimize import optimize
from tests.graphs import run_plain
from tests.networks import smooth
from tests.runs import files, net


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


def test_a_result_cannot_be_saved_to_nowhere(case, tmp_path):
    with pytest.raises(ModelError, match="Cannot write"):
        optimize(case[0], target_relus=0.7, **case[1]).save(tmp_path / "none" / "small.onnx")


def test_the_report_is_saved_as_json_or_as_a_page(case, tmp_path):
    path, options = case
    result = optimize(path, target_relus=0.7, cache=None, **options)
    result.save_report(tmp_path / "r.json")
    result.save_report(tmp_path / "r.html")
    assert Report.model_validate_json((tmp_path / "r.json").read_text(encoding="utf-8")) == result.report
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


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
