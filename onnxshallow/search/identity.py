"""What measured damages depend on, so that those of an earlier run count where nothing of it has changed."""

import hashlib

import numpy as np

from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.moments import SWELL
from onnxshallow.model.providers import read_providers
from onnxshallow.runtime.cursor import Batches
from onnxshallow.search.inputs import Inputs
from onnxshallow.versions import versions

__all__ = ["identity", "identity_of_plans"]


def identity(inputs: Inputs, calibration: Calibration) -> dict[str, object]:
    """All that the damage of a candidate depends on, as JSON values.

    Args:
        inputs: model, data and options.
        calibration: the samples that are fitted to and measured on.
    """
    fit, watched = calibration.fit, inputs.calibration.watched
    providers = inputs.config.providers
    return {
        **({} if providers is None else {"providers": list(map(str, read_providers(providers)))}),
        **({} if not watched else {"watched": _digest(watched), "bounds": SWELL}),
        "model": inputs.document.fingerprint,
        "data": inputs.data.fingerprint(),
        "samples": [len(calibration.batches), calibration.fit_batches],
        "fit": [
            fit.ridge,
            fit.rows_per_unknown,
            fit.least_rows,
            fit.fewest_rows,
            fit.rows_enough,
            fit.held_out,
            fit.rounds,
            fit.turns,
            fit.memory,
            fit.seed,
        ],
        "correction": inputs.config.correction,
        "measure": inputs.config.sensitivity,
        "outputs": [[kind.name, kind.kind, kind.axis, *kind.widths] for kind in inputs.kinds],
        "versions": versions(),
    }


def identity_of_plans(inputs: Inputs, calibration: Calibration) -> dict[str, object]:
    """All that the damage of a plan depends on; a plan is fitted to what is watched, too, and written.

    Args:
        inputs: as for `identity`.
        calibration: likewise.
    """
    config = inputs.config
    return {
        **identity(inputs, calibration),
        "watched batches": len(calibration.watched),
        "options": [config.form, config.granularity, config.squares, config.lighter, config.input_shape],
    }


def _digest(batches: Batches) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            digest.update(np.ascontiguousarray(batch[name]).tobytes())
    return digest.hexdigest()
