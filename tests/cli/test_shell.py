import json
import logging
import math
import os
import signal
import subprocess
import sys

import pytest
import typer
from pydantic import BaseModel

from onnxshallow.cli.shell import Bars, check_outputs, command_line, start_logging, write_json
from onnxshallow.errors import (
    AccuracyError,
    DataError,
    ModelError,
    OnnxshallowError,
    TargetError,
    UsageError,
)
from onnxshallow.model.files import write_text
from onnxshallow.validation.numbers import Number
from tests.runs import assert_error, files, run, save_case

CODES = {UsageError: 2, ModelError: 3, DataError: 3, AccuracyError: 4, TargetError: 5, OnnxshallowError: 1}


@pytest.mark.parametrize(("error", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", None))
def test_an_error_is_a_sentence_and_an_exit_code(error, code, capsys):
    @command_line
    def command():
        raise error("Something is wrong.")

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == code == error.exit_code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: Something is wrong.\n")


_ENDED_WHILE_TIDYING = """
import os, signal, time, weakref
from onnxshallow.cli.shell import command_line

class Thing:
    pass

@command_line
def command():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: [os.kill(os.getpid(), signal.SIGTERM), *range(1000)])
    del thing
    for _ in range(1000):
        time.sleep(0.1)

command()
"""


def test_sigterm_counts_where_python_drops_exceptions():
    ended = subprocess.run(
        [sys.executable, "-c", _ENDED_WHILE_TIDYING], capture_output=True, check=False, timeout=100
    )
    assert ended.returncode == 128 + signal.SIGTERM
    assert b"terminated" in ended.stderr


def test_an_interruption_exits_as_shells_expect(capsys):
    @command_line
    def command():
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_is_not_ours_is_let_through():
    @command_line
    def command():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


def test_too_little_memory_is_a_sentence(capsys):
    @command_line
    def command():
        raise MemoryError

    with pytest.raises(typer.Exit) as caught:
        command()
    assert caught.value.exit_code == 3
    assert "--memory" in capsys.readouterr().err


def test_a_command_keeps_its_name_and_help():
    @command_line
    def command():
        """Help."""

    assert (command.__name__, command.__doc__) == ("command", "Help.")


def test_logs_go_to_stderr(capsys):
    start_logging("info")
    logging.getLogger("onnxshallow.test").info("heard")
    logging.getLogger("onnxshallow.test").debug("not heard")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "INFO: heard\n")


def test_an_unknown_level_is_a_usage_error():
    with pytest.raises(UsageError, match="debug, info, warning, error"):
        start_logging("loud")


class Content(BaseModel):
    value: Number


def test_json_goes_to_stdout_to_a_file_or_nowhere(tmp_path, capsys):
    write_json({"a": 1}, "-")
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    write_json(Content(value=math.inf), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"value": None}
    write_json({"a": 1}, None)
    assert capsys.readouterr().out == ""
    assert files(tmp_path) == {"a.json"}


def test_json_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="Cannot write"):
        write_json({}, tmp_path / "none" / "a.json")


def test_outputs_must_not_get_into_each_others_way(tmp_path):
    model = tmp_path / "net.onnx"
    model.touch()
    (tmp_path / "b").mkdir()
    inputs = {"the input model": model}
    check_outputs({"--json": "-", "--output": tmp_path / "a", "--plan-out": None}, inputs)
    with pytest.raises(UsageError, match="is the input model, which is never overwritten"):
        check_outputs({"--json": str(tmp_path / "." / "net.onnx")}, inputs)
    with pytest.raises(UsageError, match="is where --output goes"):
        check_outputs({"--output": tmp_path / "a", "--json": str(tmp_path / "b" / ".." / "a")}, inputs)
    with pytest.raises(UsageError, match="there is no folder"):
        check_outputs({"--json": tmp_path / "none" / "a"}, inputs)
    with pytest.raises(UsageError, match="is a folder"):
        check_outputs({"--json": tmp_path}, inputs)
    with pytest.raises(UsageError, match="that is a name for models"):
        check_outputs({"--markdown": tmp_path / "other.onnx"}, inputs)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path):
    """As root `--json /dev/null` would be the end of /dev/null."""
    model, data = save_case(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for option in ("--json", "--output"):
        outcome = run("optimize", model, "--target-relus", "0.7", "--calib", data, option, tmp_path / "pipe")
        assert_error(
            outcome, 2, f"{option} ", "pipe is a device or a pipe, and no file is put in its place; give a file"
        )
    with pytest.raises(ModelError, match="it is no plain file; choose another place"):
        write_text("", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_bars_are_silent_where_nobody_looks(capsys):
    with Bars().stage("Working", 2) as step:
        step()
        step()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == ""


def test_notes_are_said_on_stderr(capsys):
    start_logging("warning")
    with Bars().stage("Working", 1):
        pass
    bars = Bars()
    with bars.stage("Working", 1):
        bars.note("so \x1bfar")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "so \\x1bfar\n" in captured.err
    start_logging("error")
    bars.note("no more")
    assert capsys.readouterr().err == ""


def test_quiet_leaves_errors_and_what_was_asked_for(tmp_path):
    model, _ = save_case(tmp_path)
    outcome = run("analyze", model, "--quiet")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    assert json.loads(run("analyze", model, "-q", "--json", "-").stdout)["totals"]["relus"] == 432
    outcome = run("analyze", tmp_path / "none.onnx", "-q", "--log-level", "debug")
    assert_error(outcome, 3, "There is no model file")
    outcome = run(
        "optimize", model, "--target-relus", "0.7", "--sensitivity", "magnitude", "--calib-samples", "40", "-q"
    )
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "")
    assert "net.shallow.onnx" in files(tmp_path)
