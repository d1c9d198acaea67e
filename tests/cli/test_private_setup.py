from pathlib import Path

from onnxshallow.private.engine import environment
from tests.runs import assert_error, run, strict_json


def test_it_says_where_the_engine_is(monkeypatch, tmp_path):
    asked = []

    def made(folder, python):
        asked.append((folder, python))
        return tmp_path / "bin" / "python"

    monkeypatch.setattr(environment, "set_up", made)
    outcome = run("private-setup", "--folder", tmp_path, "--python", "python3.11")
    assert outcome.exit_code == 0
    assert str(tmp_path / "bin" / "python") in outcome.stdout
    assert asked == [(tmp_path, Path("python3.11"))]
    report = strict_json(run("private-setup", "--json", "-").stdout)
    assert report["python"] == str(tmp_path / "bin" / "python")
    assert "spu==0.9.5" in report["requirements"]


def test_what_is_missing_exits_with_3(tmp_path):
    assert_error(run("private-setup", "--python", tmp_path / "none"), 3, "Python 3.10 or 3.11")
