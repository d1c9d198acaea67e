"""`onnxshallow optimize`: the main job."""

from pathlib import Path
from typing import Annotated

import typer

from onnxshallow.cli import options
from onnxshallow.cli.finish import finish, no_stale_output, outputs, propose
from onnxshallow.cli.shell import Bars, check_outputs, command_line, files_read, start_logging
from onnxshallow.errors import UsageError

__all__ = ["command"]


@command_line
def command(
    model: options.Model,
    target_relus: options.TargetRelus = None,
    target_macs: options.TargetMacs = None,
    target_depth: options.TargetDepth = None,
    target_latency: options.TargetLatency = None,
    max_drop: options.MaxDrop = None,
    kernel: options.Kernel = None,
    granularity: options.Granularity = None,
    polynomials: options.Polynomials = False,
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
    keep_rejected: Annotated[
        bool,
        typer.Option(
            "--keep-rejected",
            help="Write the model even where the goal is not met.",
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
    sensitivity: options.Measure = None,
    ridge: options.Ridge = None,
    no_correction: options.NoCorrection = False,
    mask_form: options.MaskForm = None,
    no_cache: options.NoCache = False,
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
    """Remove the least sensitive ReLUs, fuse and re-fit convolutions, validate, and write a smaller model.

    Examples:
      onnxshallow optimize net.onnx --target-relus 0.58 --calib images.npz
      onnxshallow optimize net.onnx --target-macs 0.7 --calib images/ --dry-run
      onnxshallow optimize net.onnx --max-drop 0.01 --calib a.npz --validate b.npz

    Exit codes: 0 goal met, 2 usage, 3 model or data cannot be used, 4 accuracy budget broken, 5 target out of reach.
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.workflows.optimize import optimize, plan

    given = dict(
        target_relus=target_relus, target_macs=target_macs, target_depth=target_depth,
        target_latency=target_latency, max_drop=max_drop,
        kernel=kernel, granularity=granularity, polynomials=polynomials or None, mask_form=mask_form,
        calib=calib, calib_samples=calib_samples, validate=validate, validate_samples=validate_samples,
        preset=preset, mean=mean, std=std, scale=scale, layout=layout, resize=resize, crop=crop, channels=channels,
        sensitivity=sensitivity, ridge=ridge, correction=False if no_correction else None,
        input_shape=input_shape, seed=seed, memory=memory, batch_size=batch_size, threads=threads,
        max_tensor=max_tensor, max_data=max_data, providers=providers,
    )  # fmt: skip
    resolved = resolve(given, model, config)
    if dry_run:
        for option, given_too in (("--output", output), ("--html", html), ("--keep-rejected", keep_rejected or None)):
            if given_too is not None:
                raise UsageError(f"{option} means nothing with --dry-run, which makes no model; leave one out.")
        check_outputs({"--json": json, "--plan-out": plan_out}, files_read(model, resolved, config))
        propose(plan(model, config=resolved, progress=Bars(), cache=not no_cache), json, plan_out)
        return
    targets = outputs(files_read(model, resolved, config), output, json, plan_out, html)
    with no_stale_output(targets):
        result = optimize(model, config=resolved, progress=Bars(), cache=not no_cache)
    finish(result, targets, keep_rejected)
