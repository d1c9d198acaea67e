"""`onnxshallow sensitivity`: how much each candidate would damage the network."""

from onnxshallow.cli import options
from onnxshallow.cli.shell import Bars, check_outputs, command_line, files_read, start_logging, write_json

__all__ = ["command"]


@command_line
def command(
    model: options.Model,
    kernel: options.Kernel = None,
    granularity: options.Granularity = None,
    polynomials: options.Polynomials = False,
    calib: options.Calib = None,
    calib_samples: options.CalibSamples = None,
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
    log_level: options.LogLevel = "warning",
) -> None:
    """Measure the damage of every candidate after its fit, on held-out calibration samples.

    Examples:
      onnxshallow sensitivity net.onnx --calib images.npz --preset cifar100
      onnxshallow sensitivity net.onnx --sensitivity mse --json damages.json
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.report.terminal.runs import print_sensitivity
    from onnxshallow.workflows.sensitivity import measure_sensitivity

    given = dict(
        kernel=kernel, granularity=granularity, polynomials=polynomials or None,
        calib=calib, calib_samples=calib_samples, preset=preset, mean=mean, std=std, scale=scale,
        layout=layout, resize=resize, crop=crop, channels=channels, sensitivity=sensitivity, ridge=ridge,
        correction=False if no_correction else None, input_shape=input_shape, seed=seed, memory=memory,
        batch_size=batch_size, threads=threads,
        max_tensor=max_tensor, max_data=max_data, providers=providers,
    )  # fmt: skip
    resolved = resolve(given, model, config)
    check_outputs({"--json": json}, files_read(model, resolved, config))
    report = measure_sensitivity(model, config=resolved, progress=Bars())
    if json != "-":
        print_sensitivity(report)
    write_json(report, json)
