"""`--time-budget`: fewer samples and plans, until the forecast keeps it.

What is given up comes in the order of what it is worth (docs/decisions/less-work.md): first plans that are looked at,
then samples that they are compared on, then samples of the final fit. What is validated stays as it is, since that is
what the verdict rests on.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from onnxshallow.fitting.calibration import Calibration
from onnxshallow.options.quantities import read_time
from onnxshallow.runtime.cursor import Batches
from onnxshallow.runtime.progress import Progress
from onnxshallow.search.forecast import Forecast, count_samples, forecast
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.pace import Pace, measured_pace
from onnxshallow.text import in_time

__all__ = ["foreseen", "has_time", "within_time"]

logger = logging.getLogger(__name__)

# Runs from which a forecast is told, in seconds: before that it would be read when all is done.
_WORTH_TELLING = 20.0


@dataclass(frozen=True)
class _Effort:
    """How much is done.

    Attributes:
        plans: that are looked at, at most.
        compared: samples that plans are compared on, to fit to and to measure on each; None for all.
        fitted: the share of the calibration samples that the final fit takes.
    """

    plans: int
    compared: int | None = None
    fitted: float = 1.0


_LADDER = (
    _Effort(12),
    _Effort(12, 128),
    _Effort(6, 64, 0.5),
    _Effort(6, 32, 0.25),
    _Effort(3, 32, 0.25),
    _Effort(3, 16, 0.125),
    _Effort(1, 16, 0.125),
    _Effort(1, 8, 0.0),
)


def foreseen(inputs: Inputs, progress: Progress, targets: int | None = None) -> tuple[Inputs, Forecast]:
    """What a run will take, told, and its inputs, with which it keeps `--time-budget`.

    Args:
        inputs: model, data and options.
        progress: hears of it where it takes long.
        targets: see `forecast`.

    Raises:
        ModelError: onnxruntime fails on the network.
    """
    pace = measured_pace(inputs)
    if inputs.config.time_budget is not None:
        inputs = within_time(inputs, pace, read_time(inputs.config.time_budget), targets)
    expected = forecast(inputs, pace, targets)
    if inputs.config.masks_in_gaps:
        expected = expected.with_masks(forecast(inputs.at_granularity("channel"), pace, targets))
    if expected.seconds > _WORTH_TELLING:
        progress.note(expected.in_short())
    return inputs, expected


def has_time(inputs: Inputs, spent: float, targets: int | None = None) -> bool:
    """Whether `--time-budget` leaves time for a further search; told where it does not.

    Args:
        inputs: of that search.
        spent: seconds so far.
        targets: see `forecast`.

    Raises:
        ModelError: onnxruntime fails on the network.
    """
    asked = inputs.config.time_budget
    if asked is None:
        return True
    takes = forecast(inputs, measured_pace(inputs), targets).seconds
    if spent + takes <= read_time(asked):
        return True
    logger.warning(
        "--time-budget %s: channel masks, which might do less damage, are not looked at, as they take about %s more.",
        asked,
        in_time(takes),
    )
    return False


def within_time(inputs: Inputs, pace: Pace, seconds: float, targets: int | None = None) -> Inputs:
    """The inputs with as many samples and plans as fit into a time; with the fewest, and a warning, where none do."""
    tried = inputs
    for effort in _LADDER:
        if (expected := forecast(tried, pace, targets).seconds) <= seconds:
            return tried
        tried = _limited(inputs, effort)
    if (expected := forecast(tried, pace, targets).seconds) > seconds:
        logger.warning(
            "--time-budget %s: with the fewest samples and plans this takes about %s; give more time, or fewer "
            "--validate-samples.",
            inputs.config.time_budget,
            in_time(expected),
        )
    return tried


def _limited(inputs: Inputs, effort: _Effort) -> Inputs:
    """The inputs with no more than some effort."""
    calibration, reduced, fixed = inputs.calibration, inputs.reduced, inputs.fixed_batch
    if effort.fitted < 1.0:
        share = int(effort.fitted * count_samples(calibration.batches))
        calibration = _leading(calibration, share * 3 // 4, share // 4, whole=fixed)
    if effort.compared is not None:
        reduced = _leading(reduced, effort.compared, effort.compared, whole=fixed)
    return replace(inputs, calibration=calibration, reduced=reduced, most_plans=effort.plans)


def _leading(calibration: Calibration, fitted: int, selected: int, *, whole: bool) -> Calibration:
    """The first samples of each part, one at least; whole batches where the model fixes their size."""
    fitting = _first(calibration.batches[: calibration.fit_batches], fitted, whole)
    selection = _first(calibration.batches[calibration.selection], selected, whole)
    return replace(calibration, batches=[*fitting, *selection], fit_batches=len(fitting))


def _first(batches: Batches, samples: int, whole: bool) -> Batches:
    found: list[Mapping[str, np.ndarray]] = []
    for batch in batches:
        if found and samples <= 0:
            break
        size = len(next(iter(batch.values())))
        taken = size if whole else min(size, max(samples, 1))
        found.append({name: values[:taken] for name, values in batch.items()})
        samples -= taken
    return found
