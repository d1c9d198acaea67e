import os
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from onnxshallow import optimize
from onnxshallow.cli.finish import Outputs, finish, no_stale_output, outputs
from onnxshallow.cli.pages import BESIDE
from onnxshallow.errors import AccuracyError, DataError, ModelError, TargetError, UsageError
from onnxshallow.model.files import file_digest
from tests.runs import assert_error, files, read_json, run, save_case


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
    assert outputs({"the model": tmp_path / "a.b.onnx"}, None, None).model == tmp_path / "a.b.shallow.onnx"
    assert outputs({"the model": tmp_path / "a.onnx"}, tmp_path / "c", "-").model == tmp_path / "c"


def test_the_report_has_one_place(tmp_path):
    read = {"the model": tmp_path / "a.onnx"}
    places = [outputs(read, None, json).report for json in (None, str(tmp_path / "b.json"), "-")]
    assert places == [tmp_path / "a.shallow.json", tmp_path / "b.json", None]


@pytest.mark.parametrize("json", ["b.json", "-"])
def test_what_an_earlier_run_said_beside_the_model_goes(result, tmp_path, json):
    end(result, Outputs(tmp_path / "a.onnx"), False)
    other = "-" if json == "-" else str(tmp_path / json)
    end(result, Outputs(tmp_path / "a.onnx", other), False)
    assert files(tmp_path) == {"a.onnx", "b.json"} - {"b.json" if json == "-" else ""}


@pytest.mark.parametrize("text", ['{"of": "another"}', "[1]", "no JSON"])
def test_what_is_no_report_stays_beside_the_model(result, tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    end(result, Outputs(tmp_path / "a.onnx", "-"), False)
    assert (tmp_path / "a.json").read_text() == text


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
        ("a.onnx", "net.onnx", None, None),
    ],
)
def test_nothing_is_overwritten(tmp_path, monkeypatch, output, json, plan_out, plan):
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "plan.json"):
        Path(name).touch()
    read = {"the model": Path("net.onnx")} | ({} if plan is None else {"the plan": Path(plan)})
    with pytest.raises(UsageError):
        outputs(read, Path(output), json, None if plan_out is None else Path(plan_out))


@pytest.mark.parametrize("option", ["-o", "--json", "--plan-out"])
@pytest.mark.parametrize("name", ["data.npz", "more.npz", "code.py", "options.toml", "onnxshallow.toml"])
def test_data_and_options_are_not_overwritten(tmp_path, option, name):
    model, data = save_case(tmp_path)
    (tmp_path / "more.npz").write_bytes(data.read_bytes())
    (tmp_path / "code.py").write_text("batches = list\n")
    calib = f"{tmp_path / 'code.py'}:batches" if name == "code.py" else data
    config: list[object] = []
    if name.endswith(".toml"):
        (tmp_path / name).write_text("seed = 1\n")
        config = ["--config", tmp_path / name] if name == "options.toml" else []
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    options = ["--target-relus", "0.7", "--calib", calib, "--validate", tmp_path / "more.npz", *config]
    assert_error(run("optimize", model, option, tmp_path / name, *options), 2, name, "never overwritten")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_originals_data_files_are_not_overwritten(tmp_path, result):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    document = replace(result.document, data_files=(weights.resolve(),))
    for target, plan_out in ((weights, None), (tmp_path / "a.onnx", weights)):
        with pytest.raises(UsageError, match="holds weights of the input model"):
            finish(replace(result, document=document), Outputs(target, plan=plan_out), False)
    assert files(tmp_path) == {"weights.bin"}
    assert weights.read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["a.onnx", "a.json", "plan.json", "a.html"])
def test_nothing_is_left_when_one_file_cannot_be_written(tmp_path, result, name, monkeypatch):
    """Of an earlier run either."""
    for earlier in ("a.onnx", "a.json", "a.html"):
        (tmp_path / earlier).write_text("earlier")
    replace_file = os.replace

    def refuse(old, new):
        if Path(new).name == name:
            raise OSError(28, "No space left on device")
        replace_file(old, new)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ModelError, match=f"{name}: No space left on device"):
        finish(result, Outputs(tmp_path / "a.onnx", plan=tmp_path / "plan.json", html=tmp_path / "a.html"), False)
    assert files(tmp_path) <= {"plan.json"}


def test_a_run_that_fails_leaves_no_earlier_result(tmp_path):
    for error in (ModelError, DataError):
        for name in ("a.onnx", "a.json", "a.html"):
            (tmp_path / name).touch()
        with pytest.raises(error), no_stale_output(Outputs(tmp_path / "a.onnx", html=tmp_path / "a.html")):
            raise error("Unusable.")
        assert files(tmp_path) == set()


def test_a_usage_error_leaves_it(tmp_path):
    (tmp_path / "a.onnx").touch()
    with pytest.raises(UsageError), no_stale_output(Outputs(tmp_path / "a.onnx")):
        raise UsageError("Wrong.")
    assert files(tmp_path) == {"a.onnx"}


def test_a_good_result_is_written_with_its_report_and_plan(result, tmp_path, capsys):
    assert end(result, Outputs(tmp_path / "a.onnx", plan=tmp_path / "plan.json"), False) == 0
    assert files(tmp_path) == {"a.onnx", "a.json", "plan.json"}
    report = read_json(tmp_path / "a.json")
    assert report["output"] == {"path": str(tmp_path / "a.onnx"), "sha256": file_digest(tmp_path / "a.onnx")}
    assert read_json(tmp_path / "plan.json")["model_sha256"] == report["model"]["sha256"]
    assert capsys.readouterr().err == ""


def test_every_file_that_is_written_is_named(result, unreachable, tmp_path, capsys):
    named = {"plan": "b.json", "html": "c.html", "markdown": "d.md", "card": "e.md"}
    places = {what: tmp_path / name for what, name in named.items()}
    targets = Outputs(tmp_path / "a.onnx", **(places | {"markdown": str(places["markdown"])}))
    end(result, targets, False)
    said = capsys.readouterr().out
    assert files(tmp_path) == {"a.onnx", "a.json", *named.values()}
    assert all(str(tmp_path / name) in said for name in files(tmp_path))
    end(unreachable, targets, False)
    assert "Plan:" not in capsys.readouterr().out


def test_a_rejected_result_leaves_no_model(result, tmp_path, capsys):
    (tmp_path / "a.onnx").touch()
    assert end(rejected(result), Outputs(tmp_path / "a.onnx"), False) == 4
    assert files(tmp_path) == {"a.json"}
    assert capsys.readouterr().err == "error: Too much is lost.\n"


def test_a_rejected_result_can_be_kept(result, tmp_path):
    assert end(rejected(result), Outputs(tmp_path / "a.onnx"), True) == 4
    assert files(tmp_path) == {"a.onnx", "a.json"}


def test_there_is_nothing_to_keep_where_the_target_is_out_of_reach(unreachable, tmp_path):
    assert isinstance(unreachable.error, TargetError)
    assert (
        end(unreachable, Outputs(tmp_path / "a.onnx", plan=tmp_path / "plan.json", html=tmp_path / "p.html"), True)
        == 5
    )
    assert files(tmp_path) == {"a.json", "p.html"}
    assert "Not met: The target of 4 ReLUs " in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_the_page_lies_beside_the_model_or_where_it_is_asked_for(tmp_path):
    read = {"the model": tmp_path / "a.onnx"}
    assert outputs(read, None, None, html=BESIDE).html == tmp_path / "a.shallow.html"
    assert outputs(read, None, None, html=str(tmp_path / "p.html")).html == tmp_path / "p.html"
    assert outputs(read, None, None).html is None


def test_the_page_overwrites_nothing(tmp_path):
    (tmp_path / "page.html").write_bytes(b"a model of an odd name")
    with pytest.raises(UsageError, match="never overwritten"):
        outputs({"the model": tmp_path / "page.html"}, tmp_path / "b.onnx", None, html=str(tmp_path / "page.html"))
