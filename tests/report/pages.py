"""A report with nothing in it but what every report has."""

from onnxshallow.report.schema.reports import CostReport, FileReport, Report, Verdict

__all__ = ["REPORT"]

REPORT = Report(
    model=FileReport(path="a.onnx", sha256="0" * 64),
    output=None,
    original=CostReport(
        relus=10, relu_nodes=2, comparisons=10, macs=100, params=5, conv_layers=3, linear_layers=3, depth=3
    ),
    optimized=None,
    decisions=[],
    fidelity=None,
    verdict=Verdict(
        status="target",
        exit_code=5,
        validated=False,
        reasons=["The target cannot be reached."],
        line="Not met: The target cannot be reached.",
    ),
    timings={},
    versions={},
    config={},
    seed=0,
)
