"""What every command does around its work: logging, errors to exit codes, progress bars, JSON."""

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import typer
from pydantic import BaseModel

from onnxshallow.errors import OnnxshallowError, UsageError
from onnxshallow.fitting.calibration import Step

__all__ = ["Bars", "command_line", "start_logging", "write_json"]

P = ParamSpec("P")

_LEVELS = ("debug", "info", "warning", "error")


def command_line(function: Callable[P, None]) -> Callable[P, None]:
    """Let a command end with one sentence on stderr and the right exit code when it cannot go on."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except OnnxshallowError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(int(error.exit_code)) from error
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None

    return wrapped


def start_logging(level: str) -> None:
    """Send logs of the chosen level to stderr.

    Raises:
        UsageError: an unknown level.
    """
    if level not in _LEVELS:
        raise UsageError(f"--log-level {level}: choose one of {', '.join(_LEVELS)}.")
    logging.basicConfig(level=level.upper(), format="%(levelname)s: %(message)s", stream=sys.stderr, force=True)


def write_json(value: BaseModel | dict[str, Any], target: str | Path | None) -> None:
    """Write a result as JSON to a file, or to stdout for `-`; nowhere for None."""
    if target is None:
        return
    content = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    text = json.dumps(content, indent=2) + "\n"
    if str(target) == "-":
        sys.stdout.write(text)
        return
    from onnxshallow.model.document import write_text

    write_text(text, Path(target))


class Bars:
    """Progress bars on stderr, where it is a terminal."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        """Show one stage's bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(name, total=total)
            yield lambda: progress.advance(task)
