"""Commands on a terminal, as people see them: a pseudo-terminal of a given size."""

import os
import re
import struct
import subprocess
import sys

import pytest

from tests.runs import save_case

pty = pytest.importorskip("pty")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

WORK = """
import logging
from onnxshallow.cli.shell import Bars, start_logging
start_logging("info")
with Bars().stage("Measuring sensitivity", 4) as step:
    step()
    logging.info("heard [red] meanwhile")
    step()
print("done")
"""


def screen(command, columns=80, term="xterm", **environment):
    """All that a command writes to a terminal, escape sequences included, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": term, **environment},
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    return written.decode(), process.wait()


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_bar_shows_how_far_it_is_and_goes_away():
    written, code = screen(["-c", WORK])
    assert code == 0
    assert re.search(r"Measuring sensitivity +━+.* [0-4]/4 +[0-9:-]+", plain(written))
    assert written.rstrip().endswith("done")
    assert "\x1b[2K" in written  # the line is wiped


def test_logs_are_lines_of_their_own_beside_a_bar():
    written, _ = screen(["-c", WORK])
    assert re.search(r"^INFO: heard \[red\] meanwhile *$", plain(written).replace("\r", "\n"), re.MULTILINE)


def test_a_narrow_terminal_has_room_for_the_numbers():
    written, _ = screen(["-c", WORK], columns=42)
    assert re.search(r"Measuring sensitivity [0-4]/4 [0-9:-]+", plain(written))
    assert "━" not in written
    assert max(map(len, plain(written).replace("\r", "\n").splitlines())) <= 42


def test_a_terminal_without_a_cursor_gets_lines_alone():
    written, _ = screen(["-c", WORK], term="dumb")
    assert written.replace("\r", "") == "INFO: heard [red] meanwhile\ndone\n"


@pytest.mark.parametrize("columns", [40, 80])
def test_tables_fit(tmp_path, columns):
    model, _ = save_case(tmp_path)
    written, code = screen(["-m", "onnxshallow", "analyze", model], columns)
    assert code == 0
    assert "r0" in written
    table, _, _ = plain(written).partition("is not fused")
    assert max(map(len, table.splitlines()[:-1])) <= columns


def test_errors_are_red_where_colours_are_wanted(tmp_path):
    command = ["-m", "onnxshallow", "analyze", tmp_path / "none.onnx"]
    written, code = screen(command)
    assert code == 3
    assert "\x1b[31m" in written
    written, _ = screen(command, NO_COLOR="1")
    assert "\x1b" not in written
    assert written.startswith("error: There is no model file")
