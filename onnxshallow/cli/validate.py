"""`onnxshallow validate`: compare two models on data."""

from pathlib import Path
from typing import Annotated

import typer

from onnxshallow.cli import options
from onnxshallow.cli.shell import Bars, check_outputs, command_line, complain, files_read, start_logging, write_json

__all__ = ["command"]

_GATES = "Gates: what must hold, else exit code 4"

MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="FRACTION",
        help="Accuracy that may be lost; without labels disagreement, without classes the largest output error.",
        rich_help_panel=_GATES,
    ),
]
MinAgreement = Annotated[
    float | None,
    typer.Option(
        "--min-agreement",
        metavar="FRACTION",
        help="Samples to which both models must give the same class.",
        rich_help_panel=_GATES,
    ),
]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        metavar="FRACTION",
        help="Largest relative error of an output; for integers the share of unequal elements.",
        rich_help_panel=_GATES,
    ),
]
Metric = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="FILE.PY:FUNCTION",
        help="A metric of your own: function(outputs, labels), a number or one a sample; can be repeated.",
    ),
]


@command_line
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The reference model.")],
    optimized: Annotated[Path, typer.Argument(metavar="OPTIMIZED", help="The model to check.")],
    validate: Annotated[
        str | None,
        typer.Option("--validate", "--data", metavar="DATA", help=".npz, image folder, or file.py:function."),
    ] = None,
    validate_samples: options.ValidateSamples = None,
    max_drop: MaxDrop = None,
    min_agreement: MinAgreement = None,
    max_error: MaxError = None,
    metric: Metric = None,
    preset: options.Preset = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    layout: options.Layout = None,
    resize: options.Resize = None,
    crop: options.Crop = None,
    channels: options.Channels = None,
    input_shape: options.InputShape = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    max_tensor: options.MaxTensor = None,
    max_data: options.MaxData = None,
    providers: options.Providers = None,
    config: options.ConfigPath = None,
    json: options.Json = None,
    log_level: options.LogLevel = "warning",
) -> None:
    """Compare accuracy, agreement and output error of two models; exit with 4 where a gate is broken.

    A gate is --max-drop, --min-agreement or --max-error. Where none is given, here or in the options file, the
    default is --max-drop 0.05 for a network with class scores, else --max-error 0.1. Outputs that are NaN or infinite
    break every gate.

    Examples:
      onnxshallow validate net.onnx net.shallow.onnx --data test.npz
      onnxshallow validate a.onnx b.onnx --data images/ --crop 224 --max-drop 0.01
    """
    start_logging(log_level)
    from onnxshallow.data.readers import code_file
    from onnxshallow.options.config import resolve
    from onnxshallow.report.terminal.validation import print_validation
    from onnxshallow.workflows.validate import validate as compare

    given = dict(
        validate=validate, validate_samples=validate_samples, max_drop=max_drop, min_agreement=min_agreement,
        max_error=max_error, preset=preset, mean=mean, std=std, scale=scale, layout=layout, resize=resize, crop=crop,
        channels=channels, input_shape=input_shape, batch_size=batch_size, threads=threads,
        max_tensor=max_tensor, max_data=max_data, providers=providers,
    )  # fmt: skip
    resolved = resolve(given, original, config)
    read = {**files_read(original, resolved, config), "the optimized model": optimized}
    for source in metric or ():
        read[f"the file of --metric {source}"] = code_file(source) or Path(source)
    check_outputs({"--json": json}, read)
    report = compare(original, optimized, metrics=metric or (), config=resolved, progress=Bars())
    if json != "-":
        print_validation(report)
    write_json(report, json)
    if report.verdict.exit_code:
        complain(" ".join(report.verdict.reasons))
        raise typer.Exit(report.verdict.exit_code)
