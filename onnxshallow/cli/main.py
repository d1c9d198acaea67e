"""The `onnxshallow` command."""

from typing import Annotated

import typer

from onnxshallow import __version__
from onnxshallow.cli import analyze, apply, bench, optimize, pareto, sensitivity, validate
from onnxshallow.cli.optional import WithHtml

__all__ = ["app", "main"]

app = typer.Typer(
    name="onnxshallow",
    help="Make trained ONNX convolutional networks shallower: remove ReLUs, fuse and re-fit convolutions. "
    "No training, no labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("analyze")(analyze.command)
app.command("sensitivity")(sensitivity.command)
app.command("optimize", cls=WithHtml)(optimize.command)
app.command("pareto")(pareto.command)
app.command("apply", cls=WithHtml)(apply.command)
app.command("validate")(validate.command)
app.command("bench")(bench.command)


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
    """Run the command line."""
    app()
