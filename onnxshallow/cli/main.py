"""The `onnxshallow` command."""

import sys
import traceback
from typing import Annotated

import typer

from onnxshallow import __version__
from onnxshallow.cli import analyze, apply, bench, doctor, optimize, pareto, schema, sensitivity, validate
from onnxshallow.cli.help import Command
from onnxshallow.cli.html import WithHtml
from onnxshallow.cli.shell import complain
from onnxshallow.errors import ExitCode

__all__ = ["app", "main"]

app = typer.Typer(
    name="onnxshallow",
    help="Make trained ONNX convolutional networks shallower: remove ReLUs, fuse and re-fit convolutions. "
    "No training, no labels.",
    epilog="`onnxshallow COMMAND --help` shows a command's options, with examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_WITH_PAGES = ("optimize", "apply")

for _name, _function, _summary in (
    ("analyze", analyze.command, "Count ReLUs, MACs, depth; say what can be removed."),
    ("sensitivity", sensitivity.command, "Measure what each possible change would damage."),
    ("optimize", optimize.command, "Make a model shallower, and prove what that cost."),
    ("pareto", pareto.command, "Find what each of several ReLU targets would cost."),
    ("apply", apply.command, "Carry out a saved plan."),
    ("validate", validate.command, "Compare two models on data."),
    ("bench", bench.command, "Time models, in turns."),
    ("doctor", doctor.command, "Check versions, execution providers and extras."),
    ("schema", schema.command, "Print the JSON Schema of the options file or of a report."),
):
    app.command(_name, cls=WithHtml if _name in _WITH_PAGES else Command, short_help=_summary)(_function)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"onnxshallow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Make trained ONNX convolutional networks shallower."""


def main() -> None:
    """Run the command line; what nobody foresaw is shown whole, with what to do about it."""
    try:
        app()
    except Exception:
        traceback.print_exc()
        complain(
            "This is a bug in onnxshallow; please report it with the lines above and what `onnxshallow doctor` says."
        )
        sys.exit(int(ExitCode.INTERNAL))
