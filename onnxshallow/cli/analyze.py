"""`onnxshallow analyze`: what networks consist of, without running them on data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxshallow.cli.options import Json, LogLevel, Markdown, takes
from onnxshallow.cli.several import each, show_each
from onnxshallow.cli.shell import check_outputs, command_line, start_logging

if TYPE_CHECKING:
    from onnxshallow.report.schema.reports import AnalysisReport

__all__ = ["command"]


@command_line
@takes("input_shape", "freeze_weights", "max_tensor", before="log_level")
def command(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="One .onnx file or several.")],
    json: Json = None,
    markdown: Markdown = None,
    log_level: LogLevel = "warning",
    **given: Any,
) -> None:
    """Count ReLUs, MACs, parameters and depth; say which sites can be removed and fused, and why others cannot.

    Of a model that onnxshallow wrote, it also says of what it was made, and how.

    Examples:
      onnxshallow analyze net.onnx
      onnxshallow analyze net.onnx --input-shape image:1,3,224,224
      onnxshallow analyze models/*.onnx --markdown summary.md
    """
    start_logging(log_level)
    check_outputs({"--json": json, "--markdown": markdown}, {f"the input model {path}": path for path in models})
    from onnxshallow.analysis import analyze
    from onnxshallow.model.document import as_document
    from onnxshallow.options.config import resolve
    from onnxshallow.report.build.run import analysis_report
    from onnxshallow.report.markdown.summary import analysis_summary
    from onnxshallow.report.schema.several import AnalysisReports
    from onnxshallow.report.terminal.runs import print_analysis

    def examine(path: Path) -> "AnalysisReport":
        config = resolve(given, path)
        document = as_document(path, config.tensor_limit, freeze=config.freeze_weights)
        return analysis_report(document, analyze(document.plain.model, config.input_shape))

    reports, failed = each(models, examine)
    whole = AnalysisReports(reports=reports, failed=failed)
    show_each(models, whole, json, markdown, print_analysis, analysis_summary)
    raise typer.Exit(whole.exit_code)
