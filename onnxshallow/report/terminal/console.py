"""What is shown on the terminal, and how: one place for tables, bars and logs. rich is imported when it is needed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PLAIN_WIDTH", "console", "is_quiet", "keeping_quiet"]

PLAIN_WIDTH = 160
"""Columns that tables may take where the output is no terminal."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


@contextmanager
def keeping_quiet(quiet: bool = True) -> Iterator[None]:
    """Show neither tables nor progress in the block; `quiet=False` changes nothing."""
    token = _quiet.set(quiet or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


def is_quiet() -> bool:
    """Whether nothing but errors and what was asked for on stdout is to be shown."""
    return _quiet.get()


def console(*, stderr: bool = False) -> "Console":
    """A console that takes `[red]` in a name for no markup; wide and plain where it is no terminal.

    Colours follow `NO_COLOR` and `TERM`, as rich does.
    """
    from rich.console import Console

    class Passing(Console):
        """One that ends no process where nobody reads on: it goes on in silence, or the command sees to stdout."""

        def on_broken_pipe(self) -> None:
            self.quiet = True
            if not self.stderr:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    made = Passing(stderr=stderr, highlight=False, markup=False, emoji=False, quiet=is_quiet())
    if not made.is_terminal:
        made.width = PLAIN_WIDTH
    return made
