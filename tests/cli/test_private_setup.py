from pathlib import Path

from onnxshallow.private.engine import environment
from tests.runs import assert_error, run


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


def test_what_is_missing_exits_with_3(tmp_path):
    assert_error(run("private-setup", "--python", tmp_path / "none"), 3, "Python 3.10 or 3.11")
