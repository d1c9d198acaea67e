"""The part of the report that tells a forecast beside the truth."""

from onnxshallow.report.schema.sections import ForecastReport
from onnxshallow.runtime.progress import Clock
from onnxshallow.runtime.store import most_memory_held
from onnxshallow.search.forecast import Forecast

__all__ = ["forecast_report"]

# Stages that come before the forecast is made; and training, which takes as long as was asked for.
_APART = ("load", "forecast", "train")


def forecast_report(expected: Forecast, clock: Clock) -> ForecastReport:
    """What was foreseen, with the search for channel masks where it came to that, and what the run took.

    Args:
        expected: what was foreseen.
        clock: of the run. Every search begins by observing the original.
    """
    if clock.begun["observe"] > 1:
        expected = expected.twice
    return ForecastReport(
        seconds=round(expected.seconds, 1),
        stages={stage: round(seconds, 1) for stage, seconds in expected.stages.items()},
        memory_bytes=expected.memory_bytes,
        actual_seconds=round(sum(seconds for stage, seconds in clock.seconds.items() if stage not in _APART), 1),
        actual_memory_bytes=most_memory_held(),
    )
