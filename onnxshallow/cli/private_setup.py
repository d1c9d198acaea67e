"""`onnxshallow private-setup`: the environment in which `bench --engine spu` runs networks."""

from pathlib import Path
from typing import Annotated

import typer

from onnxshallow.cli.options import Json, LogLevel
from onnxshallow.cli.shell import check_outputs, command_line, show, start_logging
from onnxshallow.text import printable

__all__ = ["command"]


@command_line
def command(
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Where [default: what ONNXSHALLOW_PRIVATE says, else a folder of the user's].",
            show_default=False,
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option("--python", help="Of version 3.10 or 3.11 [default: searched for].", show_default=False),
    ] = None,
    json: Json = None,
    log_level: LogLevel = "warning",
) -> None:
    """Make an environment of its own for SPU, by which `bench --engine spu` measures private inference.

    It takes about 1.2 GB. Exit codes: 0 it is there, 3 it cannot be had here; the error says why.

    Examples:
      onnxshallow private-setup
      onnxshallow private-setup --python python3.11 --folder /opt/spu
    """
    start_logging(log_level)
    check_outputs({"--json": json}, {})
    from onnxshallow.private.engine.environment import pinned, set_up
    from onnxshallow.report.schema.engine import SetupReport

    report = SetupReport(python=str(set_up(folder, python)), requirements=pinned())
    show(report, json, lambda made: typer.echo(f"SPU runs with {printable(made.python)}."))
