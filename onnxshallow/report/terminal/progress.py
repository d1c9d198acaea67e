"""Progress on stderr: bars on a terminal and in a notebook, else a line now and then, as in the log of a server.

A line says how far the stage is that goes on, and when it ends if the rest goes as fast:

    Measuring sensitivity: 14 of 51, 1 min so far, about 3 min left
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from onnxshallow.report.terminal.console import console, is_quiet
from onnxshallow.runtime.progress import Progress, Silent, Step
from onnxshallow.text import in_time, printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["EVERY", "Bars", "as_progress"]

EVERY = 30.0
"""Seconds from line to line where there is no bar, and until the first."""

# Columns from which a line of progress has room for a bar.
_WIDE = 60


def as_progress(asked: Progress | bool | None) -> Progress:
    """What shows how a run goes: bars or lines for True, nothing for False and None."""
    if asked is None or isinstance(asked, bool):
        return Bars() if asked else Silent()
    return asked


class Bars:
    """Progress bars where somebody looks, else lines, and notes in between; nothing where only errors are logged.

    Args:
        every: seconds from line to line.
    """

    def __init__(self, every: float = EVERY) -> None:
        self._say: Callable[[str], None] = _say
        self._lines = _Lines(every)

    def note(self, text: str) -> None:
        """Print a line on stderr, above the bar."""
        if _heard():
            self._say(printable(text))

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        """Show one stage."""
        shown = console(stderr=True)
        if not _heard() or shown.is_dumb_terminal:
            yield lambda: None
        elif shown.is_terminal or (shown.is_jupyter and find_spec("ipywidgets") is not None):
            with self._bar(shown, name, total) as step:
                yield step
        else:
            with self._lines.stage(name, total) as step:
                yield step

    @contextmanager
    def _bar(self, shown: "Console", name: str, total: int) -> Iterator[Step]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = [
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        ]
        if shown.width >= _WIDE:
            columns = [TextColumn("{task.description:<22}"), BarColumn(), *columns[1:]]
        with RichProgress(*columns, console=shown, transient=True) as progress:
            task = progress.add_task(name, total=total)
            self._say = progress.console.print
            try:
                yield lambda: progress.advance(task)
            finally:
                self._say = _say


class _Lines:
    """Lines that say how far a stage is; of stages within others the innermost speaks.

    A thread waits for its time, so that a step which takes minutes is told of as well.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._due = time.monotonic() + every
        self._open: list[_Stage] = []

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        stage = _Stage(name, total)
        self._open.append(stage)
        if len(self._open) > 1:
            try:
                yield stage.step
            finally:
                self._open.remove(stage)
            return
        ended = threading.Event()
        teller = threading.Thread(target=self._tell, args=(ended,), daemon=True)
        teller.start()
        try:
            yield stage.step
        finally:
            ended.set()
            teller.join()
            self._open.remove(stage)

    def _tell(self, ended: threading.Event) -> None:
        while not ended.wait(max(0.0, self._due - time.monotonic())):
            with suppress(IndexError):  # the innermost just ended
                _say(self._open[-1].line())
            self._due = time.monotonic() + self._every


class _Stage:
    """One stage, and how far it is."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total, self._done = name, total, 0
        self._begin = time.monotonic()

    def step(self) -> None:
        self._done += 1

    def line(self) -> str:
        """What is said of it."""
        taken = time.monotonic() - self._begin
        left = ""
        if 0 < self._done < self._total:
            left = f", about {in_time(taken / self._done * (self._total - self._done))} left"
        return f"{self._name}: {self._done} of {self._total}, {in_time(taken)} so far{left}"


def _heard() -> bool:
    """Whether more than errors is to be said."""
    return logging.getLogger().isEnabledFor(logging.WARNING) and not is_quiet()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
