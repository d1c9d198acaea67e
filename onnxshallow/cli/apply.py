"""`onnxshallow apply`: carry out a saved plan."""

from pathlib import Path
from typing import Annotated

import typer

from onnxshallow.cli import options
from onnxshallow.cli.finish import finish, no_stale_output, outputs
from onnxshallow.cli.shell import Bars, command_line, files_read, start_logging

__all__ = ["command"]


@command_line
def command(
    model: options.Model,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A file written by `optimize --plan-out`.")],
    max_drop: options.MaxDrop = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="The model to write [default: MODEL.shallow.onnx].",
            rich_help_panel=options.RESULT,
        ),
    ] = None,
    keep_rejected: Annotated[
        bool,
        typer.Option(
            "--keep-rejected",
            help="Write the model even where the accuracy budget is broken.",
            rich_help_panel=options.RESULT,
        ),
    ] = False,
    calib: options.Calib = None,
    calib_samples: options.CalibSamples = None,
    validate: options.Validate = None,
    validate_samples: options.ValidateSamples = None,
    preset: options.Preset = None,
    mean: options.Mean = None,
    std: options.Std = None,
    scale: options.Scale = None,
    layout: options.Layout = None,
    resize: options.Resize = None,
    crop: options.Crop = None,
    channels: options.Channels = None,
    ridge: options.Ridge = None,
    no_correction: options.NoCorrection = False,
    mask_form: options.MaskForm = None,
    input_shape: options.InputShape = None,
    seed: options.Seed = None,
    memory: options.Memory = None,
    batch_size: options.BatchSize = None,
    threads: options.Threads = None,
    providers: options.Providers = None,
    max_tensor: options.MaxTensor = None,
    max_data: options.MaxData = None,
    config: options.ConfigPath = None,
    json: options.Json = None,
    html: options.Html = None,
    log_level: options.LogLevel = "warning",
) -> None:
    """Apply a plan to a model: no sweep, the same fits.

    Examples:
      onnxshallow apply net.onnx plan.json --calib images.npz
      onnxshallow apply net.onnx plan.json --calib images.npz -o small.onnx
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.workflows.apply import apply_plan

    given = dict(
        max_drop=max_drop, calib=calib, calib_samples=calib_samples, validate=validate,
        validate_samples=validate_samples, preset=preset, mean=mean, std=std, scale=scale, layout=layout,
        resize=resize, crop=crop, channels=channels, ridge=ridge, correction=False if no_correction else None,
        mask_form=mask_form, input_shape=input_shape, seed=seed, memory=memory, batch_size=batch_size,
        threads=threads, max_tensor=max_tensor, max_data=max_data, providers=providers,
    )  # fmt: skip
    resolved = resolve(given, model, config)
    targets = outputs({**files_read(model, resolved, config), "the plan": plan}, output, json, None, html)
    with no_stale_output(targets):
        result = apply_plan(model, plan, config=resolved, progress=Bars())
    finish(result, targets, keep_rejected)
