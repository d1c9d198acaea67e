"""Fewer calibration samples and rows, to compare candidates and plans on: enough to tell better from worse.

Most plans are told apart by a rough fit, and only those that come out well by it are compared closely.
"""

from dataclasses import replace

import numpy as np

from onnxshallow.fitting.calibration import Calibration
from onnxshallow.runtime.cursor import Batches

__all__ = ["fewer_samples", "leading_samples"]

# A ranking needs fewer rows than the final fit.
_ROWS_PER_UNKNOWN, _LEAST_ROWS, _ROUNDS, _TURNS = 24, 12_000, 1, 1
# And fewer still what is only looked at roughly.
_ROUGH_ROWS_PER_UNKNOWN, _ROUGH_ROWS, _ROUGH_ROUNDS, _ROUGH_TURNS = 12, 4_000, 1, 0
# With so many rows for each unknown the ridge is as strong as it is told to be; with fewer it is not searched for.
_ROUGH_ROWS_ENOUGH = 8


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
    fit = replace(
        calibration.fit, rows_per_unknown=_ROWS_PER_UNKNOWN, least_rows=_LEAST_ROWS, rounds=_ROUNDS, turns=_TURNS
    )
    return replace(calibration, batches=[*fitting, *selection], fit_batches=len(fitting), fit=fit)


def leading_samples(reduced: Calibration, fit_samples: int, selection_samples: int) -> Calibration:
    """What `fewer_samples` made, with fewer still for a rough fit: the leading batches of each part.

    Args:
        reduced: what `fewer_samples` made.
        fit_samples: samples to fit on; whole batches are kept, one at least.
        selection_samples: samples to measure on, likewise.
    """
    fitting = _leading(reduced.batches[reduced.fitting], fit_samples)
    selection = _leading(reduced.batches[reduced.selection], selection_samples)
    fit = replace(
        reduced.fit,
        rows_per_unknown=_ROUGH_ROWS_PER_UNKNOWN,
        least_rows=_ROUGH_ROWS,
        rounds=_ROUGH_ROUNDS,
        turns=_ROUGH_TURNS,
        rows_enough=_ROUGH_ROWS_ENOUGH,
        held_out=False,
    )
    return replace(reduced, batches=[*fitting, *selection], fit_batches=len(fitting), fit=fit)


def _leading(batches: Batches, samples: int) -> Batches:
    """The leading batches that hold at most `samples` samples together; one at least."""
    sizes = [len(next(iter(batch.values()))) for batch in batches]
    return batches[: max(1, int(np.searchsorted(np.cumsum(sizes), samples, side="right")))]
