"""`sensitivity`: how much each candidate would damage the network."""

from pathlib import Path
from typing import Unpack

from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.schema import Options
from onnxshallow.report.build.run import sensitivity_report
from onnxshallow.report.schema.reports import SensitivityReport
from onnxshallow.runtime.progress import Progress, Silent
from onnxshallow.search.inputs import load_inputs, observe
from onnxshallow.search.sensitivity.cache import cache_path
from onnxshallow.search.sensitivity.meter import DamageMeter

__all__ = ["measure_sensitivity"]


def measure_sensitivity(
    model: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | None = None,
    cache: Path | bool | None = True,
    **options: Unpack[Options],
) -> SensitivityReport:
    """Measure the damage of every candidate; see `optimize` for the arguments and errors."""
    config = read_arguments(model, config, options, calibration, validation)
    progress = progress or Silent()
    with computing(config.threads), running_on(config.providers):
        inputs = load_inputs(as_document(model, config.tensor_limit), config)
        measured = DamageMeter(inputs, observe(inputs, progress), progress, cache_path(cache)).measure_all()
        return sensitivity_report(inputs, measured)
