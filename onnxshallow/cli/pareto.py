"""`onnxshallow pareto`: the whole frontier in one run."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from onnxshallow.cli import options
from onnxshallow.cli.shell import (
    Bars,
    check_outputs,
    command_line,
    files_read,
    show,
    start_logging,
    write_json,
    write_page,
)
from onnxshallow.errors import UsageError
from onnxshallow.options.flags import CHANGES, DATA, EFFORT, FITTING, GATES, GOAL, MACHINE, PIXELS, TRAINING, WORKERS

__all__ = ["command"]

_BY = ("relus", "macs", "params", "size", "private", "bytes", "messages")


@command_line
@options.takes(
    "target_macs",
    "target_depth",
    "private_model",
    "rtt",
    "bandwidth",
    "weights",
    CHANGES,
    "max_drop",
    GATES,
    before="plot",
    instead={"max_drop": options.MAX_DROP},
)
@options.takes(DATA, PIXELS, EFFORT, FITTING, TRAINING, before="no_cache")
@options.takes(WORKERS, MACHINE, before="config")
def command(
    model: options.Model,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            metavar="A,B,...",
            help="Shares or numbers [default: ten from 0.9 down to 0.25].",
            rich_help_panel=GOAL.title,
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="|".join(_BY),
            help="What the targets are of: ReLUs, multiply-adds, parameters, the file, or seconds, bytes or messages "
            "of private inference.",
            autocompletion=options.one_of(*_BY),
            rich_help_panel=GOAL.title,
        ),
    ] = "relus",
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="SVG", help="Draw the frontier.", rich_help_panel=options.RESULT),
    ] = None,
    plans: Annotated[
        Path | None,
        typer.Option(
            "--plans",
            metavar="FOLDER",
            help="Save each point's plan there, for `apply`.",
            rich_help_panel=options.RESULT,
        ),
    ] = None,
    no_cache: options.NoCache = False,
    config: options.ConfigPath = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
    html: options.HtmlPath = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Find what is lost at each of several ReLU targets; the sweep is shared, and `optimize` finds it cached.

    Examples:
      onnxshallow pareto net.onnx --calib images.npz --plot frontier.svg
      onnxshallow pareto net.onnx --targets 0.8,0.6,0.4 --plans plans/
      onnxshallow pareto net.onnx --calib c.npz --targets 0.4,0.2 --finetune 5m
      onnxshallow pareto net.onnx --by private --rtt 40ms --bandwidth 100Mbps
    """
    start_logging(log_level)
    from onnxshallow.model.files import write_text
    from onnxshallow.options.config import resolve
    from onnxshallow.report.markdown.summary import pareto_summary
    from onnxshallow.report.page.plot import pareto_chart
    from onnxshallow.report.terminal.runs import print_pareto
    from onnxshallow.workflows.pareto import DEFAULT_TARGETS, pareto

    if str(plot) == "-":
        raise UsageError("--plot writes a file, not to stdout; give a path.")
    if plans is not None:
        _make_folder(plans)
    if by not in _BY:
        raise UsageError(f"--by {by}: choose from {', '.join(_BY)}.")
    wanted = DEFAULT_TARGETS if targets is None else [part.strip() for part in targets.split(",")]
    resolved = resolve(given, model, config)
    outputs = {"--json": json, "--markdown": markdown, "--plot": plot, "--html": html}
    check_outputs(outputs, files_read(model, resolved, config))
    report = pareto(model, targets=wanted, by=cast("Any", by), config=resolved, progress=Bars(), cache=not no_cache)
    carried_out = [point for point in report.points if point.plan is not None]
    if plot is not None and carried_out:
        write_text(pareto_chart(report), plot)
    if plans is not None:
        for point in carried_out:
            target = point.target_relus if by == "relus" else f"{by}-{point.target:.4g}"
            write_json(point.plan or {}, plans / f"{model.stem}-{target}.json")
    show(report, json, print_pareto, markdown, pareto_summary)
    write_page(report, html, "pareto_page")
    if report.verdict is not None:
        raise typer.Exit(report.verdict.exit_code)


def _make_folder(plans: Path) -> None:
    try:
        plans.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--plans {plans}: the folder cannot be made ({error.strerror}); choose another place."
        ) from error
