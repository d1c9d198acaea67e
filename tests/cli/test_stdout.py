import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxshallow.cli.stdout import arriving
from tests.runs import save_case

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("-h",), ("-V",), ("schema", "options"), ("analyze", "-h")])
def test_a_full_disk_is_a_sentence_and_no_bug(words, unbuffered):
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "onnxshallow", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith("error: The output cannot be written: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [("analyze",), ("analyze", "--json", "-"), ("analyze", "--markdown", "-")])
def test_a_reader_that_is_gone_is_no_bug(words, tmp_path):
    model, _ = save_case(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "onnxshallow", words[0], model, *words[1:]],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.skipif(os.name != "posix", reason="handles of POSIX")
@pytest.mark.parametrize("stderr", ["closed", "full", "gone"])
def test_nobody_need_read_the_error(tmp_path, stderr):
    """The exit code is the same."""
    if stderr == "full" and not FULL.exists():
        pytest.skip("this system has no /dev/full")
    model, _ = save_case(tmp_path)
    reading, gone = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "onnxshallow", "analyze", str(model), "--json", str(tmp_path / "none" / "a.json")]
    with FULL.open("w") if stderr == "full" else os.fdopen(gone, "w") as stream:
        close = (lambda: os.close(2)) if stderr == "closed" else None
        done = subprocess.run(words, stderr=stream, preexec_fn=close, check=False)
    assert done.returncode == 2


class Stream:
    """A stream that takes nothing."""

    def __init__(self, number):
        self.number = number

    def flush(self):
        raise OSError(self.number, os.strerror(self.number))

    def fileno(self):
        raise OSError


def test_a_reader_that_wants_no_more_is_not_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Stream(errno.EPIPE))
    with pytest.raises(SystemExit) as caught, arriving():
        pass
    assert caught.value.code == 3
    assert capsys.readouterr().err == ""


def test_an_error_of_a_named_file_is_not_that_of_the_output():
    with pytest.raises(OSError, match="gone"), arriving():
        raise OSError(errno.ENOSPC, "gone", "a.npz")


def test_a_closed_stdout_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with arriving():
        print("to nobody")
    monkeypatch.undo()
