import subprocess
import sys
from pathlib import Path

import pytest

from onnxshallow.private.engine.environment import (
    ENVIRONMENT,
    REQUIREMENTS,
    SetupError,
    engine_folder,
    engine_python,
    pinned,
    set_up,
)


class Processes:
    """Stands for `subprocess.run`: makes an environment of files, says versions, fails where told to."""

    def __init__(self, versions, failing="", error=""):
        self.versions, self.failing, self.error = versions, failing, error
        self.commands = []

    def __call__(self, command, **_):
        self.commands.append(command)
        if "version_info" in command[-1]:
            version = self.versions.get(Path(command[0]).name)
            return subprocess.CompletedProcess(command, 0 if version else 1, f"{version}\n", "")
        if self.failing and self.failing in command:
            return subprocess.CompletedProcess(command, 1, "", self.error)
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        return subprocess.CompletedProcess(command, 0, "", "")


def test_every_version_is_pinned():
    assert "spu==0.9.5" in pinned()
    assert all("==" in line for line in pinned())


def test_the_variable_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert engine_folder() == tmp_path
    with pytest.raises(SetupError, match="private-setup"):
        engine_python()
    monkeypatch.delenv(ENVIRONMENT)
    assert engine_folder().name == "spu"


def test_it_is_made_with_a_python_that_fits(tmp_path):
    run = Processes({"old": "3.9", "new": "3.13", "fits": "3.10"})
    made = set_up(tmp_path / "spu", Path("fits"), run)
    assert made == tmp_path / "spu" / "bin" / "python" == engine_python(tmp_path / "spu")
    assert [command[0] for command in run.commands] == ["fits", "fits", str(made), str(made)]
    assert str(REQUIREMENTS) in run.commands[2]
    for name in ("old", "new", "none"):
        with pytest.raises(SetupError, match=f"{name} is no such Python"):
            set_up(tmp_path / name, Path(name), run)


def test_a_python_is_searched_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match="there is no such Python here"):
        set_up(tmp_path / "spu", None, Processes({}))
    run = Processes({Path(sys.executable).name: "3.11"})
    assert set_up(tmp_path / "spu", None, run).is_file()


@pytest.mark.parametrize(
    ("failing", "words"),
    [("venv", "No virtual environment"), (str(REQUIREMENTS), "cannot be installed on this machine: No matching"),
     ("import jax, spu", "does not start")],
)  # fmt: skip
def test_what_fails_is_told_in_one_sentence(tmp_path, failing, words):
    run = Processes({"python": "3.11"}, failing, "much\nNo matching distribution found\n")
    with pytest.raises(SetupError, match=words):
        set_up(tmp_path / "spu", Path("python"), run)
