"""`onnxshallow validate`: compare models with their original on data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxshallow.cli import options
from onnxshallow.cli.several import each, show_each
from onnxshallow.cli.shell import Bars, check_outputs, command_line, complain, files_read, start_logging, write_page
from onnxshallow.errors import UsageError
from onnxshallow.options.flags import GATES, PIXELS, Flag

if TYPE_CHECKING:
    from onnxshallow.report.schema.reports import ValidationReport

__all__ = ["command"]

Metric = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="FILE.PY:FUNCTION",
        help="A metric of your own: function(outputs, labels), a number or one a sample; can be repeated.",
    ),
]


@command_line
@options.takes(
    "validate_data", "validate_samples", "max_drop", GATES, before="metric",
    instead={
        "validate_data": Flag(".npz, image folder, or file.py:function.", None, "DATA", also=("--data",)),
        "max_drop": options.MAX_DROP,
    },
)  # fmt: skip
@options.takes(
    PIXELS, "input_shape", "freeze_weights", "output_kind", "seed", "batch_size", "threads", "max_tensor", "max_data",
    "providers",
    before="config",
)  # fmt: skip
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The reference model.")],
    optimized: Annotated[list[Path], typer.Argument(metavar="OPTIMIZED...", help="The model to check, or several.")],
    metric: Metric = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also compare the tensors inside, and say where the networks part.")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            "--layer-tolerance",
            metavar="ERROR",
            min=0.0,
            help="By how much tensors may be off, relative to their size.",
        ),
    ] = 1e-3,
    config: options.ConfigPath = None,
    json: options.Json = None,
    html: options.HtmlPath = None,
    markdown: options.Markdown = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Compare accuracy, agreement and output error of two models or more; exit with 4 where a gate is broken.

    A gate is --max-drop, --min-agreement or --max-error. Outputs that none given here or in the options file speaks
    of have a default: --max-drop 0.05 for classes and the pixels of masks, 0.05 of the cosine of an embedding, else
    --max-error 0.1. Outputs that are NaN or infinite break every gate. Of several models each is compared with the
    original, and the exit code is the highest of theirs.

    Examples:
      onnxshallow validate net.onnx net.shallow.onnx --data test.npz
      onnxshallow validate a.onnx b.onnx --data images/ --crop 224 --max-drop 0.01
      onnxshallow validate a.onnx b.onnx --data test.npz --layers
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.options.forms import file_of
    from onnxshallow.report.markdown.summary import validation_summary
    from onnxshallow.report.schema.several import ValidationReports
    from onnxshallow.report.terminal.validation import print_validation
    from onnxshallow.workflows.validate import validate as compare

    resolved = resolve(given, original, config)
    read = {**files_read(original, resolved, config), **{f"the optimized model {path}": path for path in optimized}}
    for source in metric or ():
        read[f"the file of --metric {source}"] = file_of(source)
    check_outputs({"--json": json, "--markdown": markdown, "--html": html}, read)
    if html is not None and len(optimized) > 1:
        raise UsageError("--html takes one optimized model; run it for each, or take --markdown.")

    def check(path: Path) -> "ValidationReport":
        asked = tolerance if layers else None
        return compare(original, path, metrics=metric or (), layers=asked, config=resolved, progress=Bars())

    reports, failed = each(optimized, check)
    whole = ValidationReports(reports=reports, failed=failed)
    show_each(optimized, whole, json, markdown, print_validation, validation_summary)
    for report in reports:
        write_page(report, html, "validation_page")
        if report.verdict.exit_code:
            name = f"{report.optimized.path}: " if len(optimized) > 1 else ""
            complain(name + " ".join(finding.text for finding in report.verdict.findings if finding.refuses))
    raise typer.Exit(whole.exit_code)
