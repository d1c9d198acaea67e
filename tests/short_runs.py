"""How runs in tests are kept short, in the tests' own process and in others.

Fewer plans compete, which shows as much and takes half the time. Models are timed for a moment only, which says
little: what is decided by time is tested with times that are made up. And all is computed by one thread, on which
results do not depend: for networks as small as these more only wait for each other.

`python -m tests.short_runs` stands for `python -m onnxshallow`.
"""

from collections.abc import Mapping
from pathlib import Path

from onnxshallow.cli.main import main as command_line
from onnxshallow.fitting.threads import computing
from onnxshallow.model import session
from onnxshallow.search import latency, pace, time_budget, tries
from onnxshallow.validation import latency as timing

__all__ = ["MAIN", "PATH", "SETTINGS", "main", "shorten"]

SETTINGS = (
    (tries, "_MOST_TRIES", 8),
    (tries, "_FEWEST_TOLD_APART", 8),
    (timing, "_WARM_UP", 0.0),
    (timing, "_SECONDS", 0.01),
    (timing, "_MOST_SECONDS", 0.01),
    (latency, "_SECONDS", 0.01),
    (pace, "_MOST_TRIES", 2),
    (time_budget, "_WORTH_TELLING", float("inf")),
    (session, "usable_cores", lambda: 1),
)
"""Modules, names in them, and what these are in tests."""

MAIN = "from tests.short_runs import main; main()"
"""The command line as a program, for processes that do something before it."""

PATH: Mapping[str, str] = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
"""What lets other processes find this module."""


def shorten() -> None:
    """Keep what this process runs short, until it ends."""
    for module, name, value in SETTINGS:
        setattr(module, name, value)


def main() -> None:
    """The command line, whose runs are short."""
    shorten()
    with computing(1):
        command_line()


if __name__ == "__main__":
    main()
