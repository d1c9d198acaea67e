"""`onnxshallow analyze`: what a network consists of, without running it on data."""

from typing import Any

from onnxshallow.cli.options import Json, LogLevel, Model, takes
from onnxshallow.cli.shell import check_outputs, command_line, show, start_logging

__all__ = ["command"]


@command_line
@takes("input_shape", "max_tensor", before="log_level")
def command(
    model: Model,
    json: Json = None,
    log_level: LogLevel = "warning",
    **given: Any,
) -> None:
    """Count ReLUs, MACs, parameters and depth; say which sites can be removed and fused, and why others cannot.

    Examples:
      onnxshallow analyze net.onnx
      onnxshallow analyze net.onnx --input-shape image:1,3,224,224
    """
    start_logging(log_level)
    check_outputs({"--json": json}, {"the input model": model})
    from onnxshallow.analysis import analyze
    from onnxshallow.model.document import load_document
    from onnxshallow.options.config import resolve
    from onnxshallow.report.build.run import analysis_report
    from onnxshallow.report.terminal.runs import print_analysis

    config = resolve(given, model)
    document = load_document(model, config.tensor_limit)
    report = analysis_report(document, analyze(document.plain.model, config.input_shape))
    show(report, json, print_analysis)
