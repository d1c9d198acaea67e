"""`onnxshallow doctor`: whether this installation can work."""

import typer

from onnxshallow.cli.options import Json, LogLevel
from onnxshallow.cli.shell import check_outputs, command_line, complain, show, start_logging

__all__ = ["command"]


@command_line
def command(json: Json = None, log_level: LogLevel = "warning") -> None:
    """Show versions, execution providers, extras, memory and the cache, and run a model of one node.

    Exit codes: 0 all is well, 3 something that is needed is missing or broken; the output says what to do.

    Examples:
      onnxshallow doctor
      onnxshallow doctor --json -
    """
    start_logging(log_level)
    check_outputs({"--json": json}, {})
    from onnxshallow.report.terminal.doctor import print_doctor
    from onnxshallow.workflows.doctor import examine

    report = examine()
    show(report, json, print_doctor)
    if report.problems:
        complain(report.problems[0])
        raise typer.Exit(report.exit_code)
