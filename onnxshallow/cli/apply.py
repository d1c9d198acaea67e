"""`onnxshallow apply`: carry out a saved plan."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onnxshallow.cli import options
from onnxshallow.cli.finish import finish, no_stale_output, outputs
from onnxshallow.cli.shell import Bars, command_line, files_read, start_logging
from onnxshallow.options.flags import DATA, GATES, MACHINE, PIXELS, RESULT

__all__ = ["command"]


@command_line
@options.takes("max_drop", GATES, before="output", instead={"max_drop": options.MAX_DROP})
@options.takes(DATA, PIXELS, "ridge", "correction", "mask_form", MACHINE, before="config")
@options.takes(RESULT, before="config")
def command(
    model: options.Model,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A file written by `optimize --plan-out`.")],
    output: options.Output = None,
    keep_rejected: options.KeepRejected = False,
    force: options.Force = False,
    config: options.ConfigPath = None,
    json: options.Json = None,
    html: options.Html = None,
    markdown: options.Markdown = None,
    card: options.Card = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Apply a plan to a model: no sweep, the same fits, and the same gates as of `optimize`.

    Examples:
      onnxshallow apply net.onnx plan.json --calib images.npz
      onnxshallow apply net.onnx plan.json --calib images.npz -o small.onnx
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.workflows.apply import apply_plan

    resolved = resolve(given, model, config)
    targets = outputs(
        {**files_read(model, resolved, config), "the plan": plan}, output, json, None, html, markdown, card
    )
    with no_stale_output(targets):
        result = apply_plan(model, plan, config=resolved, progress=Bars(), force=force)
    finish(result, targets, keep_rejected)
