from pathlib import Path

import pytest
import typer

from onnxshallow import optimize
from onnxshallow.cli.finish import finish, no_stale_output, output_path
from onnxshallow.errors import AccuracyError, DataError, ModelError, TargetError, UsageError
from onnxshallow.model.files import file_digest
from tests.runs import files, read_json, save_case


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    model, data = save_case(tmp_path_factory.mktemp("finish"))
    return optimize(model, target_relus=0.7, calib=str(data), sensitivity="magnitude", cache=None)


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory):
    model, data = save_case(tmp_path_factory.mktemp("finish"))
    return optimize(model, target_relus=0.01, calib=str(data), sensitivity="magnitude", cache=None)


def rejected(result):
    return type(result)(result.document, result.model, result.plan, result.report, AccuracyError("Too much is lost."))


def end(*arguments):
    with pytest.raises(typer.Exit) as caught:
        finish(*arguments)
    return caught.value.exit_code


def test_the_output_lies_beside_the_model(tmp_path):
    assert output_path(tmp_path / "a.b.onnx", None, None) == tmp_path / "a.b.shallow.onnx"
    assert output_path(tmp_path / "a.onnx", tmp_path / "c", "-") == tmp_path / "c"


def test_a_copy_of_the_report_may_be_the_report(tmp_path):
    assert output_path(tmp_path / "a.onnx", None, str(tmp_path / "a.shallow.json")) == tmp_path / "a.shallow.onnx"


@pytest.mark.parametrize(
    ("output", "json", "plan_out", "plan"),
    [
        ("net.onnx", None, None, None),
        (".", None, None, None),
        ("none/a.onnx", None, None, None),
        ("a.json", None, None, None),
        ("plan.onnx", None, None, "plan.json"),
        ("a.onnx", "a.onnx", None, None),
        ("a.onnx", "b.json", "b.json", None),
        ("a.onnx", None, "a.json", None),
    ],
)
def test_nothing_is_overwritten(tmp_path, monkeypatch, output, json, plan_out, plan):
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "plan.json"):
        Path(name).touch()
    paths = [None if name is None else Path(name) for name in (plan_out, plan)]
    with pytest.raises(UsageError):
        output_path(Path("net.onnx"), Path(output), json, *paths)


def test_a_run_that_fails_leaves_no_earlier_result(tmp_path):
    for error in (ModelError, DataError):
        (tmp_path / "a.onnx").touch()
        with pytest.raises(error), no_stale_output(tmp_path / "a.onnx"):
            raise error("Unusable.")
        assert files(tmp_path) == set()


def test_a_usage_error_leaves_it(tmp_path):
    (tmp_path / "a.onnx").touch()
    with pytest.raises(UsageError), no_stale_output(tmp_path / "a.onnx"):
        raise UsageError("Wrong.")
    assert files(tmp_path) == {"a.onnx"}


def test_a_good_result_is_written_with_its_report_and_plan(result, tmp_path, capsys):
    assert end(result, tmp_path / "a.onnx", None, tmp_path / "plan.json", False) == 0
    assert files(tmp_path) == {"a.onnx", "a.json", "plan.json"}
    report = read_json(tmp_path / "a.json")
    assert report["output"] == {"path": str(tmp_path / "a.onnx"), "sha256": file_digest(tmp_path / "a.onnx")}
    assert read_json(tmp_path / "plan.json")["model_sha256"] == report["model"]["sha256"]
    assert capsys.readouterr().err == ""


def test_a_rejected_result_leaves_no_model(result, tmp_path, capsys):
    (tmp_path / "a.onnx").touch()
    assert end(rejected(result), tmp_path / "a.onnx", "-", None, False) == 4
    assert files(tmp_path) == {"a.json"}
    assert capsys.readouterr().err == "error: Too much is lost.\n"


def test_a_rejected_result_can_be_kept(result, tmp_path):
    assert end(rejected(result), tmp_path / "a.onnx", None, None, True) == 4
    assert files(tmp_path) == {"a.onnx", "a.json"}


def test_there_is_nothing_to_keep_where_the_target_is_out_of_reach(unreachable, tmp_path):
    assert isinstance(unreachable.error, TargetError)
    assert end(unreachable, tmp_path / "a.onnx", None, tmp_path / "plan.json", True) == 5
    assert files(tmp_path) == {"a.json"}
