"""The flags of commands: those made of the options in `Config`, and others that commands share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from onnxshallow.cli.shell import LEVELS
from onnxshallow.options.flags import FITTING, GATES, Flag, Group, Option
from onnxshallow.options.flags import RESULT as RESULTS
from onnxshallow.options.schema import OPTIONS

__all__ = [
    "MAX_DROP",
    "RESULT",
    "Card",
    "ConfigPath",
    "Force",
    "Html",
    "Json",
    "KeepRejected",
    "LogLevel",
    "Markdown",
    "Model",
    "NoCache",
    "Output",
    "one_of",
    "takes",
]

RESULT = RESULTS.title

MAX_DROP = Flag(
    "Accuracy that may be lost; without labels disagreement, without classes the largest output error.",
    GATES,
    "FRACTION",
)
"""What is said of `--max-drop` where it is a gate and no goal."""


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Completion of an option that takes one of `values`."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.", readable=False)]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="PATH", help="Write the result as JSON; - for stdout.", rich_help_panel=RESULT),
]
Markdown = Annotated[
    str | None,
    typer.Option(
        "--markdown",
        metavar="PATH",
        help="Write a summary in Markdown, for a pull request; - for stdout.",
        rich_help_panel=RESULT,
    ),
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="[PATH]",
        help="Write the report as a page, too [default: MODEL.shallow.html].",
        rich_help_panel=RESULT,
    ),
]
HtmlPath = Annotated[
    Path | None,
    typer.Option("--html", metavar="PATH", help="Write the result as a page, too.", rich_help_panel=RESULT),
]
Card = Annotated[
    str | None,
    typer.Option(
        "--card",
        metavar="[PATH]",
        help="Write a model card in Markdown, with figures, data and limits [default: MODEL.shallow.md].",
        rich_help_panel=RESULT,
    ),
]
ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", metavar="TOML", help="Options file [default: onnxshallow.toml beside the model]."),
]
LogLevel = Annotated[
    str,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help=f"{', '.join(LEVELS[:-1])} or {LEVELS[-1]}; logs go to stderr.",
        autocompletion=one_of(*LEVELS),
    ),
]
KeepRejected = Annotated[
    bool,
    typer.Option(
        "--keep-rejected",
        help="Write the model even where it is refused, with that exit code.",
        rich_help_panel=RESULT,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Write the model even where it is refused, with exit code 0; says what was overridden.",
        rich_help_panel=RESULT,
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Measure anew; keep nothing.", rich_help_panel=FITTING.title)
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="The model to write [default: MODEL.shallow.onnx].",
        rich_help_panel=RESULT,
    ),
]


def takes(
    *wanted: Group | str, before: str, instead: dict[str, Flag] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Lets a command take options of `Config`, which it gets in its `**given`: None for those that are not given.

    Args:
        *wanted: the options by name or by group, in the order of the help.
        before: the parameter of the command before which they stand.
        instead: what is said of an option in place of what `Config` says, by name.
    """
    options = [
        replace(option, flag=(instead or {}).get(option.name, option.flag))
        for one in wanted
        for option in OPTIONS
        if one in (option.name, option.flag.group)
    ]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> None:
            given = {option.name: _meaning(option, kwargs.pop(option.name)) for option in options}
            function(*args, **kwargs, **given)

        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        place = list(signature.parameters).index(before)
        parameters[place:place] = map(_parameter, options)
        wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return wrapped

    return decorate


_TYPES: dict[type, Any] = {bool: bool, int: int | None, float: float | None, str: str | None, dict: list[str] | None}


def _parameter(option: Option) -> inspect.Parameter:
    """An option as a parameter that typer reads."""
    flag, is_switch = option.flag, option.kind is bool
    values = flag.values or option.choices
    made = typer.Option(
        f"--no-{option.word}" if flag.negative else f"--{option.word}",
        *flag.also,
        metavar=None if is_switch else option.metavar,
        help=option.help,
        rich_help_panel=None if flag.group is None else flag.group.title,
        autocompletion=one_of(*values) if values else None,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=False if is_switch else None,
        annotation=Annotated[_TYPES[option.kind], made],
    )


def _meaning(option: Option, value: Any) -> Any:
    """The value of an option; None where it is not given."""
    if option.kind is not bool:
        return value
    return not option.flag.negative if value else None
