"""What every command does around its work: logging, errors to exit codes, progress bars, JSON."""

import functools
import inspect
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TextIO, TypeVar

import typer
from pydantic import BaseModel

from onnxshallow.errors import ExitCode, OnnxshallowError, UsageError
from onnxshallow.report.terminal.console import is_quiet, keeping_quiet
from onnxshallow.report.terminal.progress import Bars
from onnxshallow.text import printable
from onnxshallow.versions import runtime_problem

if TYPE_CHECKING:
    from onnxshallow.options.config import Config

__all__ = [
    "LEVELS",
    "Bars",
    "check_outputs",
    "command_line",
    "complain",
    "files_read",
    "show",
    "start_logging",
    "write_json",
    "write_page",
    "write_result",
]

P = ParamSpec("P")
R = TypeVar("R", bound=BaseModel)

LEVELS = ("debug", "info", "warning", "error")
"""What `--log-level` takes."""


_QUIET = inspect.Parameter(
    "quiet",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("-q", "--quiet", help="No tables, bars or warnings: only errors, and --json -.")
    ],
)


def command_line(function: Callable[P, None]) -> Callable[P, None]:
    """Let a command end with one sentence on stderr and the right exit code when it cannot go on; adds `--quiet`."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        quiet = bool(kwargs.pop("quiet", False))
        with _ended_by_sigterm(), keeping_quiet(quiet):
            try:
                function(*args, **kwargs)
            except OnnxshallowError as error:
                complain(str(error))
                raise typer.Exit(int(error.exit_code)) from error
            except (ImportError, AttributeError):
                if (problem := runtime_problem()) is None:
                    raise
                complain(problem)
                raise typer.Exit(int(ExitCode.UNUSABLE_INPUT)) from None
            except MemoryError:
                complain("There is not enough memory; set a lower --memory or --batch-size, or give fewer samples.")
                raise typer.Exit(int(ExitCode.UNUSABLE_INPUT)) from None
            except BrokenPipeError:  # a reader that wants no more; typer would take it for an internal error
                raise typer.Exit(int(ExitCode.UNUSABLE_INPUT)) from None
            except KeyboardInterrupt:
                typer.echo("interrupted", err=True)
                raise typer.Exit(130) from None

    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    wrapped.__signature__ = signature.replace(parameters=[*named, _QUIET])  # type: ignore[attr-defined]
    return wrapped


def complain(message: str) -> None:
    """Say on stderr, in one line, why a command ends without what was asked for; nobody need read it."""
    if sys.stderr is None:  # closed by the caller
        return
    colourful = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    label = typer.style("error:", fg="red", bold=True) if colourful else "error:"
    with suppress(OSError):
        typer.echo(f"{label} {printable(message)}", err=True)


# Seconds after which a signal whose exception was dropped is sent again.
_MOMENT = 0.05


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process as an exception does, so that temporary files are removed on the way.

    Python drops an exception that is raised while it tidies up, as in a callback of a weak reference. The signal is
    then sent again, a moment later, when an exception may count.
    """

    def end(number: int, frame: object) -> None:
        typer.echo("terminated", err=True)
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, SystemExit):
            threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            hook(dropped)

    before, hook = signal.signal(signal.SIGTERM, end), sys.unraisablehook
    sys.unraisablehook = again
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = hook


class _Printable(logging.Formatter):
    """Logs in which names from files cannot act on the terminal; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(super().formatMessage(record))


class _Stderr(logging.StreamHandler[TextIO]):
    """Logs to what is stderr at the time: progress bars take its place while they are shown, and print above."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


def start_logging(level: str) -> None:
    """Send logs of the chosen level to stderr; of a quiet command only errors.

    Raises:
        UsageError: an unknown level.
    """
    if level not in LEVELS:
        raise UsageError(f"--log-level {level}: choose one of {', '.join(LEVELS)}.")
    handler = _Stderr()
    handler.setFormatter(_Printable("%(levelname)s: %(message)s"))
    logging.basicConfig(level="ERROR" if is_quiet() else level.upper(), handlers=[handler], force=True)


# Options that say where text goes.
_TEXTS = ("--json", "--markdown", "--html", "--card", "--plot", "--plan-out")


def check_outputs(outputs: Mapping[str, str | Path | None], inputs: Mapping[str, Path]) -> None:
    """Make sure, before the work begins, that results can be written and overwrite nothing that is needed.

    Args:
        outputs: files to write, by option; None and `-` are none.
        inputs: files that are read, by what they are.

    Raises:
        UsageError: a result would overwrite an input or another result, is a folder, a device or text with the name
            of a model, its folder does not exist, or two go to stdout.
        ModelError: its folder cannot be written to.
    """
    from onnxshallow.model.files import is_replaceable, require_writable, same_file

    to_stdout = [option for option, output in outputs.items() if output is not None and str(output) == "-"]
    if len(to_stdout) > 1:
        raise UsageError(f"{' and '.join(to_stdout)} would both go to stdout; give one of them a path.")
    taken = {f"{what}, which is never overwritten": path for what, path in inputs.items()}
    for option, output in outputs.items():
        if output is None or str(output) == "-":
            continue
        path = Path(output)
        if os.path.isdir(path):
            raise UsageError(f"{option} {path} is a folder; give a file.")
        if not is_replaceable(path):
            raise UsageError(f"{option} {path} is a device or a pipe, and no file is put in its place; give a file.")
        if not os.path.isdir(path.parent):
            raise UsageError(f"{option} {path}: there is no folder {path.parent}; create it first.")
        for what, other in taken.items():
            if same_file(path, other):
                raise UsageError(f"{option} {path} is {what}; give another path.")
        if option in _TEXTS and path.suffix == ".onnx":
            raise UsageError(f"{option} {path}: that is a name for models, and what goes there is text; name it so.")
        taken[f"where {option} goes"] = path
        require_writable(path)


def files_read(model: Path, config: "Config", options_file: Path | None) -> dict[str, Path]:
    """The files that a run reads, by what they are.

    Args:
        model: the model.
        config: the options, which name the data.
        options_file: what `--config` says.
    """
    from onnxshallow.options.config import CONFIG_NAME
    from onnxshallow.options.forms import file_of

    read = {"the input model": model, "the options file": options_file or model.parent / CONFIG_NAME}
    for what, source in (("the calibration data", config.calib), ("the validation data", config.validate_data)):
        if source is not None:
            read[what] = file_of(source)
    return read


def write_json(value: BaseModel | dict[str, Any], target: str | Path | None) -> None:
    """Write a result as JSON to a file, or to stdout for `-`; nowhere for None."""
    content = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_result(json.dumps(content, indent=2) + "\n", target)


def write_result(text: str, target: str | Path | None) -> None:
    """Write a result to a file, or to stdout for `-`; nowhere for None."""
    if target is None:
        return
    if str(target) == "-":
        sys.stdout.write(text)
        return
    from onnxshallow.model.files import write_text

    write_text(text, Path(target))


def show(
    report: R,
    json: str | None,
    table: Callable[[R], None],
    markdown: str | None = None,
    summary: Callable[[R], str] | None = None,
) -> None:
    """Show a report as tables, unless stdout is for something else, and write it where asked.

    Args:
        report: the report.
        json: where its JSON goes.
        table: shows it.
        markdown: where its summary goes.
        summary: the report in Markdown.
    """
    if "-" not in (json, markdown):
        table(report)
    write_json(report, json)
    if summary is not None and markdown is not None:
        write_result(summary(report), markdown)


def write_page(report: BaseModel, target: Path | None, name: str) -> None:
    """Write a report as a page; nowhere for None.

    Args:
        report: the report.
        target: the file.
        name: of the function in `onnxshallow.report.page.sheets` that makes the page, which is imported only then.
    """
    if target is None:
        return
    from onnxshallow.model.files import write_text
    from onnxshallow.report.page import sheets

    write_text(getattr(sheets, name)(report), target)
