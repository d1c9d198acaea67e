"""Measures of damage: how far a network's outputs have moved.

    kl              mean Kullback-Leibler divergence KL(original || rewritten) of the class distributions, in nats,
                    softened by a temperature of 2
    mse             mean squared difference of the outputs, relative to the mean square of the original's
    disagreement    share of samples whose most likely class changed

A network is sure of most samples, and few decide its divergence. Softened, it ranks plans as a much larger set of
samples does (docs/decisions/damage-after-correction.md). KL and disagreement speak of classifiers; outputs that are
no class scores are measured by `mse` instead.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from onnxshallow.validation.metrics import agreement, class_scores, kl_divergence, relative_error

__all__ = ["Measure", "damage"]

Measure = Literal["kl", "mse", "disagreement"]

# What stands for the damage of a network whose outputs are not finite any more.
_RUINED = 1e6
_TEMPERATURE = 2.0


def damage(measure: Measure, reference: Sequence[np.ndarray], candidate: Sequence[np.ndarray]) -> float:
    """How far `candidate`'s outputs are from `reference`'s, averaged over the floating-point outputs.

    Args:
        measure: which measure.
        reference: the original's outputs, one array (N, ...) each.
        candidate: the rewritten network's.

    Returns:
        0 for no change; larger is worse.
    """
    parts = [
        _one(measure, before, after)
        for before, after in zip(reference, candidate, strict=True)
        if np.issubdtype(before.dtype, np.floating)
    ]
    return float(np.mean(parts)) if parts else 0.0


def _one(measure: Measure, before: np.ndarray, after: np.ndarray) -> float:
    if before.shape != after.shape:
        return _RUINED
    masked = np.isneginf(before) & np.isneginf(after)  # classes that the network never gives are no damage
    if not np.all(np.isfinite(after) | masked):
        return _RUINED
    scores, new_scores = class_scores(before), class_scores(after)
    if measure == "mse" or scores is None or new_scores is None:
        before, after = (
            (np.where(masked, 0, values) for values in (before, after)) if masked.any() else (before, after)
        )
        return min(relative_error(before, after) ** 2, _RUINED)
    if measure == "kl":
        return float(np.mean(kl_divergence(scores, new_scores, _TEMPERATURE)))
    return 1.0 - agreement(scores, new_scores)
