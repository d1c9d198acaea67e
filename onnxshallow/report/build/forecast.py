"""The part of the report that tells a forecast beside the truth."""

from collections.abc import Mapping

from onnxshallow.report.schema.sections import ForecastReport
from onnxshallow.runtime.store import most_memory_held
from onnxshallow.search.forecast import Forecast

__all__ = ["forecast_report"]

# Stages that come before the forecast is made; and training, which takes as long as was asked for.
_APART = ("load", "forecast", "train")


def forecast_report(expected: Forecast, timings: Mapping[str, float]) -> ForecastReport:
    """What was foreseen, and what the run took.

    Args:
        expected: what was foreseen.
        timings: seconds by stage.
    """
    return ForecastReport(
        seconds=round(expected.seconds, 1),
        stages={stage: round(seconds, 1) for stage, seconds in expected.stages.items()},
        memory_bytes=expected.memory_bytes,
        actual_seconds=round(sum(seconds for stage, seconds in timings.items() if stage not in _APART), 1),
        actual_memory_bytes=most_memory_held(),
    )
