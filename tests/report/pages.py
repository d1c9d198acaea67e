"""A report with nothing in it but what every report has."""

from onnxshallow.report.schema.reports import CostReport, FileReport, Report, TrainingReport, Verdict
from onnxshallow.report.schema.sections import TrainingLook

__all__ = ["REPORT", "TRAINING"]

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

TRAINING = TrainingReport(
    start=None,
    asked="40steps",
    steps=40,
    done=40,
    kept=20,
    interrupted=False,
    samples=1200,
    held_out=100,
    batch=128,
    augment="crop",
    arithmetic="float32",
    threads=1,
    trained=5000,
    lacks=[],
    looks=[
        TrainingLook(step=0, damage=0.5, agreement=0.8, usable=True),
        TrainingLook(step=20, loss=0.25, error=0.625, damage=0.375, agreement=0.9, growth=1.5, usable=True),
        TrainingLook(step=40, loss=0.125, damage=0.4, agreement=0.875, growth=4.0, usable=False),
    ],
    seconds=2.0,
)
"""Forty steps, of which twenty are kept."""
