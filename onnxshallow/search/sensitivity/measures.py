"""Measures of damage: how far a network's outputs have moved, each output by what it means.

    kl              of classes and masks the mean Kullback-Leibler divergence, in nats, of distributions that are
                    softened by a temperature of 2; of embeddings 1 - cosine; of other outputs as `mse`
    mse             mean squared difference of the outputs, relative to the mean square of the original's
    disagreement    share of samples that changed their class, or of pixels; of other outputs as `kl`

A network is sure of most samples, and few decide its divergence. Softened, it ranks plans as a much larger set of
samples does (docs/decisions/damage-after-correction.md). It has another scale than the KL divergence of a comparison
(`onnxshallow.validation.compare`), and is called damage, never KL.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from onnxshallow.validation.guess import kinds_of_arrays
from onnxshallow.validation.heads import HeadsTally, MaskTally
from onnxshallow.validation.kinds import OutputKind, class_places
from onnxshallow.validation.metrics import relative_error
from onnxshallow.validation.outputs import OutputTally

__all__ = ["Measure", "damage", "in_words"]

Measure = Literal["kl", "mse", "disagreement"]

_WORDS = {
    "kl": "softened divergence, T = 2",
    "mse": "relative squared error",
    "disagreement": "share of changed classes",
    "magnitude": "size of the weights",
}

# What stands for the damage of a network whose outputs are not finite any more.
_RUINED = 1e6
_TEMPERATURE = 2.0


def in_words(measure: object) -> str:
    """What a value of `--sensitivity` measures, in a few words; one that is none of these as it is."""
    return _WORDS.get(str(measure), str(measure))


def damage(
    measure: Measure,
    reference: Sequence[np.ndarray],
    candidate: Sequence[np.ndarray],
    kinds: Sequence[OutputKind] | None = None,
) -> float:
    """How far `candidate`'s outputs are from `reference`'s, averaged over the floating-point outputs.

    Args:
        measure: which measure.
        reference: the original's outputs, one array (N, ...) each.
        candidate: the rewritten network's.
        kinds: what they mean; None to guess it from their shapes alone.

    Returns:
        0 for no change; larger is worse.
    """
    if kinds is None:
        samples = max((len(output) for output in reference if output.ndim), default=1)
        kinds = kinds_of_arrays([""] * len(reference), reference, samples)
    parts = [
        _one(measure, kind, before, after)
        for kind, before, after in zip(kinds, reference, candidate, strict=True)
        if np.issubdtype(before.dtype, np.floating) and before.size
    ]
    return float(np.mean(parts)) if parts else 0.0


def _one(measure: Measure, kind: OutputKind, before: np.ndarray, after: np.ndarray) -> float:
    if before.shape != after.shape:
        return _RUINED
    masked = np.isneginf(before) & np.isneginf(after)  # classes that the network never gives are no damage
    if not np.all(np.isfinite(after) | masked):
        return _RUINED
    found = None if measure == "mse" else _by_kind(measure, kind, before, after)
    if found is not None:
        return found
    before, after = (np.where(masked, 0, values) for values in (before, after)) if masked.any() else (before, after)
    error = relative_error(before, after) ** 2
    return _RUINED if math.isnan(error) else min(error, _RUINED)  # what is infinite in the original alone


def _by_kind(measure: Measure, kind: OutputKind, before: np.ndarray, after: np.ndarray) -> float | None:
    """The damage to classes, masks and embeddings; None for other outputs."""
    samples = len(before) if before.ndim else 1
    if kind.kind == "embedding":
        angle = OutputTally(kind.name)
        angle.add(before, after, samples)
        return 1.0 - (angle.result().cosine or 0.0)
    if kind.kind == "mask":
        mask = MaskTally(_TEMPERATURE)
        mask.add(kind, before, after, samples)
        agreed = mask.result()
    else:
        heads = HeadsTally(_TEMPERATURE)
        heads.add(class_places(kind, before, after, samples), {}, None, samples)
        agreed = heads.heads.get(kind.name)
    if agreed is None or agreed.kl is None:
        return None
    return min(agreed.kl, _RUINED) if measure == "kl" else 1.0 - agreed.agreement
