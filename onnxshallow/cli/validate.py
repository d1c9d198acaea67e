"""`onnxshallow validate`: compare two models on data."""

from pathlib import Path
from typing import Annotated

import typer

from onnxshallow.cli import options
from onnxshallow.cli.shell import Bars, check_outputs, command_line, files_read, start_logging, write_json

__all__ = ["command"]


@command_line
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The reference model.")],
    optimized: Annotated[Path, typer.Argument(metavar="OPTIMIZED", help="The model to check.")],
    validate: Annotated[
        str | None,
        typer.Option("--validate", "--data", metavar="DATA", help=".npz, image folder, or file.py:function."),
    ] = None,
    validate_samples: options.ValidateSamples = None,
    max_drop: options.MaxDrop = None,
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
    config: options.ConfigPath = None,
    json: options.Json = None,
    log_level: options.LogLevel = "warning",
) -> None:
    """Compare accuracy, agreement and output error of two models; exit with 4 where --max-drop is exceeded.

    Examples:
      onnxshallow validate net.onnx net.shallow.onnx --data test.npz
      onnxshallow validate a.onnx b.onnx --data images/ --crop 224 --max-drop 0.01
    """
    start_logging(log_level)
    from onnxshallow.comparison import validate_files
    from onnxshallow.config import resolve
    from onnxshallow.report.console import print_validation

    given = dict(
        validate=validate, validate_samples=validate_samples, max_drop=max_drop, preset=preset, mean=mean, std=std,
        scale=scale, layout=layout, resize=resize, crop=crop, channels=channels, input_shape=input_shape,
        batch_size=batch_size, threads=threads,
        max_tensor=max_tensor, max_data=max_data,
    )  # fmt: skip
    resolved = resolve(given, original, config)
    check_outputs({"--json": json}, {**files_read(original, resolved, config), "the optimized model": optimized})
    report = validate_files(original, optimized, resolved, Bars())
    if json != "-":
        print_validation(report)
    write_json(report, json)
    if report.verdict.exit_code:
        typer.echo(f"error: {report.verdict.reasons[0]}", err=True)
        raise typer.Exit(report.verdict.exit_code)
