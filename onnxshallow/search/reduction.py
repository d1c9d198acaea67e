"""Fewer calibration samples and rows, to compare candidates and plans on: enough to tell better from worse."""

from dataclasses import replace

import numpy as np

from onnxshallow.fitting.calibration import Calibration
from onnxshallow.runtime.cursor import Batches

__all__ = ["MOST_FIT_SAMPLES", "fewer_samples"]

MOST_FIT_SAMPLES = 384
"""A ranking needs fewer samples and rows than the final fit."""

_ROWS_PER_UNKNOWN, _LEAST_ROWS, _ROUNDS = 24, 20_000, 2


def fewer_samples(
    calibration: Calibration, fit_samples: int = MOST_FIT_SAMPLES, selection_samples: int | None = None
) -> Calibration:
    """The calibration with fewer samples, and fewer rows to fit on: enough to tell better from worse.

    Args:
        calibration: the whole of it.
        fit_samples: samples to fit on; whole batches are kept, one at least.
        selection_samples: samples to measure on, likewise; None for all. What is not fitted on is there for it too.
    """
    fitting = _leading(calibration.batches[calibration.fitting], fit_samples)
    selection: Batches = [
        *calibration.batches[calibration.selection],
        *calibration.batches[calibration.fitting][len(fitting) :],
    ]
    if selection_samples is not None:
        selection = _leading(selection, selection_samples)
    fit = replace(calibration.fit, rows_per_unknown=_ROWS_PER_UNKNOWN, least_rows=_LEAST_ROWS, rounds=_ROUNDS)
    return replace(calibration, batches=[*fitting, *selection], fit_batches=len(fitting), fit=fit)


def _leading(batches: Batches, samples: int) -> Batches:
    """The leading batches that hold at most `samples` samples together; one at least."""
    sizes = [len(next(iter(batch.values()))) for batch in batches]
    return batches[: max(1, int(np.searchsorted(np.cumsum(sizes), samples, side="right")))]
