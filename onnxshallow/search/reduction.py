"""Fewer calibration samples and rows, to compare candidates and plans on: enough to tell better from worse."""

from dataclasses import replace

import numpy as np

from onnxshallow.fitting.calibration import Calibration
from onnxshallow.runtime.cursor import Batches

__all__ = ["fewer_samples"]

# A ranking needs fewer rows than the final fit.
_ROWS_PER_UNKNOWN, _LEAST_ROWS, _ROUNDS = 24, 20_000, 2


def fewer_samples(calibration: Calibration, fit_samples: int, selection_samples: int) -> Calibration:
    """The calibration with fewer samples, and fewer rows to fit on: enough to tell better from worse.

    Args:
        calibration: the whole of it.
        fit_samples: samples to fit on; whole batches are kept, one at least.
        selection_samples: samples to measure on, likewise. What is not fitted on is there for it too.
    """
    fitting = _leading(calibration.batches[calibration.fitting], fit_samples)
    spare = calibration.batches[calibration.fitting][len(fitting) :]
    selection = _leading([*calibration.batches[calibration.selection], *spare], selection_samples)
    fit = replace(calibration.fit, rows_per_unknown=_ROWS_PER_UNKNOWN, least_rows=_LEAST_ROWS, rounds=_ROUNDS)
    return replace(calibration, batches=[*fitting, *selection], fit_batches=len(fitting), fit=fit)


def _leading(batches: Batches, samples: int) -> Batches:
    """The leading batches that hold at most `samples` samples together; one at least."""
    sizes = [len(next(iter(batch.values()))) for batch in batches]
    return batches[: max(1, int(np.searchsorted(np.cumsum(sizes), samples, side="right")))]
