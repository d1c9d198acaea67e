"""The `onnxshallow` command."""

import sys
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer.core
import typer.main

from onnxshallow import __version__
from onnxshallow.cli.help import Command
from onnxshallow.cli.pages import WithPages
from onnxshallow.cli.shell import complain
from onnxshallow.cli.stdout import arriving
from onnxshallow.errors import ExitCode

__all__ = ["app", "main"]

_SUMMARIES = {
    "analyze": "Count ReLUs, MACs, depth; say what can be removed.",
    "sensitivity": "Measure what each possible change would damage.",
    "optimize": "Make a model shallower, and prove what that cost.",
    "pareto": "Find what each of several ReLU targets would cost.",
    "apply": "Carry out a saved plan.",
    "finetune": "Let an optimized model learn from its original.",
    "validate": "Compare two models on data.",
    "bench": "Time models, in turns.",
    "private-setup": "Install the engine that measures private inference.",
    "doctor": "Check versions, execution providers and extras.",
    "schema": "Print the JSON Schema of the options file or of a report.",
}
_WITH_PAGES = ("optimize", "apply", "finetune")
_HELP = {"help_option_names": ["-h", "--help"]}


class _Commands(Mapping[str, typer.core.TyperCommand]):
    """The commands by name, each made of `onnxshallow.cli.NAME` when it is asked for."""

    def __iter__(self) -> Iterator[str]:
        return iter(_SUMMARIES)

    def __len__(self) -> int:
        return len(_SUMMARIES)

    def __getitem__(self, name: str) -> typer.core.TyperCommand:
        return _made(name, _SUMMARIES[name])


@cache
def _made(name: str, summary: str) -> typer.core.TyperCommand:
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    kind = WithPages if name in _WITH_PAGES else Command
    alone.command(name, cls=kind, short_help=summary, context_settings=_HELP)(
        import_module(f"onnxshallow.cli.{name.replace('-', '_')}").command
    )
    command: typer.core.TyperCommand = typer.main.get_command(alone)  # type: ignore[assignment]
    return command


class _Group(typer.core.TyperGroup):
    """All commands; its own help imports none of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": _Commands()})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write what there is, a line each."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


app = typer.Typer(
    name="onnxshallow",
    cls=_Group,
    help="Make trained ONNX convolutional networks shallower: remove ReLUs, fuse and re-fit convolutions. "
    "No training, no labels.",
    epilog="`onnxshallow COMMAND --help` shows a command's options, with examples.",
    context_settings=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"onnxshallow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("-V", "--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Make trained ONNX convolutional networks shallower."""


def main() -> None:
    """Run the command line; what nobody foresaw is shown whole, with what to do about it."""
    try:
        with arriving():
            app()
    except Exception:
        traceback.print_exc()
        complain(
            "This is a bug in onnxshallow; please report it with the lines above and what `onnxshallow doctor` says."
        )
        sys.exit(int(ExitCode.INTERNAL))
