"""`onnxshallow sensitivity`: how much each candidate would damage the network."""

from typing import Any

from onnxshallow.cli import options
from onnxshallow.cli.shell import Bars, check_outputs, command_line, files_read, show, start_logging, write_page
from onnxshallow.options.flags import CHANGES, MACHINE, PIXELS, WORKERS

__all__ = ["command"]


@command_line
@options.takes(
    CHANGES, "calib", "calib_samples", PIXELS, "sensitivity", "ridge", "correction", WORKERS, MACHINE, before="config"
)
def command(
    model: options.Model,
    config: options.ConfigPath = None,
    json: options.Json = None,
    html: options.HtmlPath = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
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

    resolved = resolve(given, model, config)
    check_outputs({"--json": json, "--html": html}, files_read(model, resolved, config))
    report = measure_sensitivity(model, config=resolved, progress=Bars())
    show(report, json, print_sensitivity)
    write_page(report, html, "sensitivity_page")
