"""`onnxshallow optimize`: the main job."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onnxshallow.cli import options
from onnxshallow.cli.finish import finish, no_stale_output, outputs, propose
from onnxshallow.cli.shell import Bars, check_outputs, command_line, files_read, start_logging
from onnxshallow.errors import UsageError
from onnxshallow.options.flags import (
    CHANGES,
    DATA,
    EFFORT,
    FITTING,
    GATES,
    GOAL,
    MACHINE,
    PIXELS,
    PRIVATE,
    RESULT,
    TRAINING,
    WORKERS,
)

__all__ = ["command"]


@command_line
@options.takes(GOAL, PRIVATE, CHANGES, GATES, before="output")
@options.takes(DATA, PIXELS, EFFORT, FITTING, before="no_cache")
@options.takes(TRAINING, WORKERS, MACHINE, before="config")
@options.takes(RESULT, before="config")
def command(
    model: options.Model,
    output: options.Output = None,
    plan_out: Annotated[
        Path | None,
        typer.Option(
            "--plan-out", metavar="PATH", help="Save the plan, for `apply`.", rich_help_panel=options.RESULT
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Measure and plan only: print the plan and what it would save, write no model.",
            rich_help_panel=options.RESULT,
        ),
    ] = False,
    keep_rejected: options.KeepRejected = False,
    force: options.Force = False,
    no_cache: options.NoCache = False,
    config: options.ConfigPath = None,
    json: options.Json = None,
    html: options.Html = None,
    markdown: options.Markdown = None,
    card: options.Card = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Remove the least sensitive ReLUs, fuse and re-fit convolutions, validate, and write a smaller model.

    Without a target or a gate only what changes nothing goes: folded and idle nodes, dead channels, denormal weights.
    With a target these go, too.

    Examples:
      onnxshallow optimize net.onnx --target-relus 0.58 --calib images.npz
      onnxshallow optimize net.onnx --target-macs 0.7 --calib images/ --dry-run
      onnxshallow optimize net.onnx --max-drop 0.01 --calib a.npz --validate b.npz

    Where no gate is given (--max-drop, --min-agreement, --max-error), --max-drop 0.05 counts for a network with class
    scores, else --max-error 0.1.

    Exit codes: 0 goal met, 2 usage, 3 model or data cannot be used, 4 a gate is broken, 5 target out of reach.
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.workflows.optimize import optimize, plan

    resolved = resolve(given, model, config)
    if dry_run:
        for option, given_too in (
            ("--output", output),
            ("--html", html),
            ("--markdown", markdown),
            ("--card", card),
            ("--keep-rejected", keep_rejected or None),
            ("--force", force or None),
        ):
            if given_too is not None:
                raise UsageError(f"{option} means nothing with --dry-run, which makes no model; leave one out.")
        check_outputs({"--json": json, "--plan-out": plan_out}, files_read(model, resolved, config))
        propose(plan(model, config=resolved, progress=Bars(), cache=not no_cache), json, plan_out)
        return
    targets = outputs(files_read(model, resolved, config), output, json, plan_out, html, markdown, card)
    with no_stale_output(targets):
        result = optimize(model, config=resolved, progress=Bars(), cache=not no_cache, force=force)
    finish(result, targets, keep_rejected)
