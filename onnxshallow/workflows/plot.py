"""Charts of reports, for notebooks and files."""

from onnxshallow.errors import UsageError
from onnxshallow.report.page.plot import Svg, pareto_chart
from onnxshallow.report.page.view import frontier_chart
from onnxshallow.report.schema.reports import ParetoReport, Report

__all__ = ["plot"]


def plot(report: Report | ParetoReport) -> Svg:
    """The chart of a report as an SVG, which a notebook shows, and which can be written as text.

    Args:
        report: of `optimize`, whose plans are drawn by ReLUs and damage, or of `pareto`, whose targets are drawn by
            what is kept and what is lost.

    Raises:
        UsageError: there is nothing to draw.
    """
    if isinstance(report, ParetoReport):
        if not any(point.optimized is not None and point.fidelity is not None for point in report.points):
            raise UsageError("No target was reached, so there is nothing to draw; raise the targets.")
        return Svg(pareto_chart(report))
    chart = frontier_chart(report)
    if chart is None:
        raise UsageError("No plans competed in this run, so there is nothing to draw; optimize with a target.")
    return Svg(chart)
