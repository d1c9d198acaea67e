from onnxshallow.workflows import doctor as module
from onnxshallow.workflows.doctor import examine
from tests.runs import assert_error, read_json, run, strict_json


def test_people_see_what_is_installed():
    outcome = run("doctor")
    assert outcome.exit_code == 0
    for words in ("numpy", "CPUExecutionProvider", "cache:", "runs a model", "All is well."):
        assert words in outcome.stdout


def test_scripts_get_json(tmp_path):
    outcome = run("doctor", "--json", "-")
    assert strict_json(outcome.stdout)["exit_code"] == outcome.exit_code == 0
    run("doctor", "--json", tmp_path / "a.json", "--quiet")
    assert read_json(tmp_path / "a.json")["problems"] == []


def test_what_is_wrong_is_an_error_with_its_remedy(monkeypatch):
    problem = "numpy is missing; run: pip install numpy."
    broken = examine().model_copy(update={"problems": [problem], "exit_code": 3})
    monkeypatch.setattr(module, "examine", lambda: broken)
    outcome = run("doctor")
    assert_error(outcome, 3, problem)
    assert f"Problem: {problem}" in outcome.stdout
    assert "All is well" not in outcome.stdout
