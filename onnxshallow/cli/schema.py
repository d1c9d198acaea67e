"""`onnxshallow schema`: what the options file and the reports look like, for scripts and editors."""

from typing import Annotated

import typer

from onnxshallow.cli.options import Json, LogLevel
from onnxshallow.cli.shell import check_outputs, command_line, start_logging, write_json

__all__ = ["command"]


@command_line
def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A schema; without it all are listed.")] = None,
    json: Json = None,
    log_level: LogLevel = "warning",
) -> None:
    """Print the JSON Schema of the options file, or of the report that a command writes with --json.

    Examples:
      onnxshallow schema
      onnxshallow schema options --json options.schema.json
    """
    start_logging(log_level)
    check_outputs({"--json": json}, {})
    from onnxshallow.report.schema.published import PUBLISHED, json_schema

    if name is not None:
        write_json(json_schema(name), json or "-")
    elif json is not None:
        write_json({"schemas": list(PUBLISHED)}, json)
    else:
        typer.echo("\n".join(PUBLISHED))
