"""`onnxshallow validate`: compare two models on data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onnxshallow.cli import options
from onnxshallow.cli.shell import Bars, check_outputs, command_line, complain, files_read, show, start_logging
from onnxshallow.options.flags import GATES, PIXELS, Flag

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
    PIXELS, "input_shape", "output_kind", "seed", "batch_size", "threads", "max_tensor", "max_data", "providers",
    before="config",
)  # fmt: skip
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The reference model.")],
    optimized: Annotated[Path, typer.Argument(metavar="OPTIMIZED", help="The model to check.")],
    metric: Metric = None,
    config: options.ConfigPath = None,
    json: options.Json = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Compare accuracy, agreement and output error of two models; exit with 4 where a gate is broken.

    A gate is --max-drop, --min-agreement or --max-error. Outputs that none given here or in the options file speaks
    of have a default: --max-drop 0.05 for classes and the pixels of masks, 0.05 of the cosine of an embedding, else
    --max-error 0.1. Outputs that are NaN or infinite break every gate.

    Examples:
      onnxshallow validate net.onnx net.shallow.onnx --data test.npz
      onnxshallow validate a.onnx b.onnx --data images/ --crop 224 --max-drop 0.01
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.options.forms import file_of
    from onnxshallow.report.terminal.validation import print_validation
    from onnxshallow.workflows.validate import validate as compare

    resolved = resolve(given, original, config)
    read = {**files_read(original, resolved, config), "the optimized model": optimized}
    for source in metric or ():
        read[f"the file of --metric {source}"] = file_of(source)
    check_outputs({"--json": json}, read)
    report = compare(original, optimized, metrics=metric or (), config=resolved, progress=Bars())
    show(report, json, print_validation)
    if report.verdict.exit_code:
        complain(" ".join(finding.text for finding in report.verdict.findings if finding.refuses))
        raise typer.Exit(report.verdict.exit_code)
