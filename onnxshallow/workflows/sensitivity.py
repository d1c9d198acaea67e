"""`sensitivity`: how much each candidate would damage the network."""

from pathlib import Path
from typing import Unpack

from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.report.build.run import sensitivity_report
from onnxshallow.report.schema.reports import SensitivityReport
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.run import Run
from onnxshallow.search.workers import working

__all__ = ["measure_sensitivity"]


def measure_sensitivity(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    cache: Path | bool | None = True,
    **options: Unpack[Options],
) -> SensitivityReport:
    """Measure the damage of every candidate; see `optimize` for the arguments and errors."""
    config = read_arguments(model, config, options, calibration, validation)
    with computing(config.threads), running_on(config.providers), working(config):
        inputs = load_inputs(as_document(model, config.tensor_limit, freeze=config.freeze_weights), config)
        run = Run.begin(inputs, as_progress(progress), Clock(), cache)
        return sensitivity_report(inputs, run.meter.measure_all())
