"""How far a candidate network's outputs are from the reference's, and how often they are right.

All functions take arrays whose first axis is the samples and, for classifiers, whose second axis is the
classes. They compute in float64 whatever the outputs' precision. A NaN is never right and never agrees;
distances pass it on.
"""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxshallow.errors import DataError

__all__ = [
    "PROBABILITY_FLOOR",
    "agreement",
    "as_log_probabilities",
    "class_scores",
    "kl_divergence",
    "log_softmax",
    "mean_squared_error",
    "relative_error",
    "top_k_correct",
    "unit_for_squares",
]

FloatArray: TypeAlias = NDArray[np.floating[Any]]

PROBABILITY_FLOOR = 1e-12
"""The smallest probability that `as_log_probabilities` gives; it bounds a sample's divergence by 27.6."""

_SUM_TOLERANCE = 1e-2
"""How far a row of probabilities may be from summing to 1: bfloat16 keeps 8 bits, so a softmax rounded to it
is off by up to 0.4 %."""


def log_softmax(logits: FloatArray) -> NDArray[np.float64]:
    """Turn logits into log-probabilities along axis 1, without overflow.

    Log-probabilities come out as they went in.

    Args:
        logits: (N, K, ...) in nats.

    Returns:
        The same shape in float64, in nats. A sample with a NaN or an infinite largest logit is NaN.
    """
    values = np.asarray(logits, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf: the NaN is the answer
        shifted: NDArray[np.float64] = values - values.max(axis=1, keepdims=True)
    normalized: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def as_log_probabilities(outputs: FloatArray) -> NDArray[np.float64]:
    """Read a classifier's logits, probabilities or log-probabilities as log-probabilities.

    Outputs that are nowhere negative and sum to 1 in every row (to 1 %, for half precision) are
    probabilities: a network that ends in Softmax. All else goes through `log_softmax`, which leaves the
    log-probabilities of a network that ends in LogSoftmax as they are. Probabilities below
    `PROBABILITY_FLOOR` are raised to it in every case, so that a Softmax at the end of a network, which may
    underflow to 0, changes no divergence.

    Args:
        outputs: (N, K) scores.

    Returns:
        (N, K) log-probabilities in nats.

    Raises:
        ValueError: the outputs are not of rank 2, or there is no class.
    """
    values = _require_scores(outputs).astype(np.float64)
    return _log_probabilities(values, _are_probabilities(values))


def kl_divergence(
    reference_logits: FloatArray, candidate_logits: FloatArray, temperature: float = 1.0
) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence of the candidate from the reference, for each sample.

    KL(p || q) = sum_k p_k (ln p_k - ln q_k): what is lost, in nats, by believing the candidate q where the
    reference p is the truth (S. Kullback and R. A. Leibler, *On Information and Sufficiency*, 1951).

    The two networks have the same head, so both outputs are read in the same way: as probabilities only where
    both look like it, since a few logits may sum to 1 by chance.

    Args:
        reference_logits: (N, K) outputs of the original network; logits, probabilities or log-probabilities,
            see `as_log_probabilities`.
        candidate_logits: (N, K) outputs of the changed network.
        temperature: T; the divergence is that of the distributions p^(1/T) / sum p^(1/T), times T^2, which lets
            the classes that are not the first count more (arXiv 1503.02531).

    Returns:
        (N,) nats, at least 0 and, at a temperature of 1, at most 27.6.

    Raises:
        ValueError: the shapes differ or are not (N, K).
    """
    _require_same_shape(reference_logits, candidate_logits)
    outputs = [_require_scores(scores).astype(np.float64) for scores in (reference_logits, candidate_logits)]
    probabilities = all(_are_probabilities(values) for values in outputs)
    reference, candidate = (_log_probabilities(values, probabilities) for values in outputs)
    if temperature != 1.0:
        reference, candidate = log_softmax(reference / temperature), log_softmax(candidate / temperature)
    divergence: NDArray[np.float64] = np.sum(np.exp(reference) * (reference - candidate), axis=1)
    return np.maximum(temperature**2 * divergence, 0.0)  # rounding makes -1e-17 of a zero


def top_k_correct(scores: FloatArray, labels: NDArray[np.integer[Any]], k: int) -> NDArray[np.bool_]:
    """Whether each sample's label is among its `k` best scores.

    Equal scores rank by class index, the lower first, as a stable sort would have them. With fewer than `k`
    classes every finite answer is right.

    Args:
        scores: (N, K); the larger, the more likely.
        labels: (N,) class indices, counted from 0.
        k: how many of the best scores count.

    Returns:
        (N,) booleans; their mean is the top-k accuracy.

    Raises:
        ValueError: the scores are not (N, K), the labels are not (N,) integers, or k is below 1.
        DataError: a label names a class that the network does not have.
    """
    scores = _require_scores(scores)
    samples, classes = scores.shape
    if labels.shape != (samples,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Expected ({samples},) integer labels, got {labels.dtype} of shape {labels.shape}.")
    if k < 1:
        raise ValueError(f"Top-{k} accuracy means nothing; k counts from 1.")
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(
            f"The labels run from {labels.min()} to {labels.max()}, but the network has {classes} classes: "
            f"labels must count from 0 to {classes - 1}, in the order of the network's outputs."
        )
    own = np.take_along_axis(scores, labels.astype(np.intp)[:, None], axis=1)
    earlier = np.arange(classes)[None, :] < labels[:, None]
    # Counting who ranks before the label takes one pass over the scores, where sorting them takes ten.
    rank = np.count_nonzero((scores > own) | ((scores == own) & earlier), axis=1)
    correct: NDArray[np.bool_] = (rank < k) & ~np.isnan(own[:, 0])
    return correct


def agreement(reference: FloatArray, candidate: FloatArray) -> float:
    """The share of places where both networks have the same largest class along axis 1.

    Args:
        reference: (N, K, ...) outputs of the original network.
        candidate: (N, K, ...) outputs of the changed network.

    Returns:
        A fraction of the N x ... places.

    Raises:
        ValueError: the shapes differ, have no axis 1, or there is no sample.
    """
    _require_same_shape(reference, candidate)
    if reference.ndim < 2 or reference.size == 0:
        raise ValueError(f"Expected (N, K, ...) outputs of at least one sample, got shape {reference.shape}.")
    same = reference.argmax(axis=1) == candidate.argmax(axis=1)
    broken = np.isnan(reference).any(axis=1) | np.isnan(candidate).any(axis=1)  # argmax picks the NaN
    return float(np.mean(same & ~broken))


def mean_squared_error(reference: FloatArray, candidate: FloatArray) -> float:
    """The mean over all elements of the squared difference, in the outputs' units squared.

    Args:
        reference: an array of any shape.
        candidate: an array of the same shape.

    Raises:
        ValueError: the shapes differ, or the arrays are empty.
    """
    _require_same_shape(reference, candidate)
    if reference.size == 0:
        raise ValueError(f"Arrays of shape {reference.shape} have no element to compare.")
    return _mean_square(np.asarray(candidate, dtype=np.float64) - np.asarray(reference, dtype=np.float64))


def relative_error(reference: FloatArray, candidate: FloatArray) -> float:
    """The RMS of the difference over the RMS of the reference; 1 is as wrong as an output of zeros.

    Args:
        reference: an array of any shape.
        candidate: an array of the same shape.

    Returns:
        A ratio; 0 when both are zero everywhere, infinity when only the reference is.

    Raises:
        ValueError: the shapes differ, or the arrays are empty.
    """
    _require_same_shape(reference, candidate)
    unit = unit_for_squares(reference, candidate)
    scaled = np.asarray(reference, dtype=np.float64) * unit
    error = mean_squared_error(scaled, np.asarray(candidate, dtype=np.float64) * unit)
    scale = _mean_square(scaled)
    if scale == 0:
        return 0.0 if error == 0 else math.inf
    return math.sqrt(error / scale)


def unit_for_squares(*arrays: NDArray[Any]) -> float:
    """A power of two by which values are multiplied before they are squared, so that the squares can be told apart.

    1 but for double precision beyond what a square holds.
    """
    peak = max(float(np.abs(a).max(initial=0, where=np.isfinite(a))) for a in arrays)
    return 1.0 if peak == 0 or 1e-100 < peak < 1e100 else math.ldexp(1.0, -math.frexp(peak)[1])


def class_scores(outputs: NDArray[Any]) -> FloatArray | None:
    """A classifier's outputs as one row of class scores a sample, or None when they are not a classifier's.

    Args:
        outputs: any output array. (N, K) is taken as it is, and (N, K, 1, ...), as a fully convolutional head
            gives it, without its trailing ones.

    Returns:
        (N, K) in the outputs' own float type, K at least 2; None for integers, other shapes and a single
        class.
    """
    if not np.issubdtype(outputs.dtype, np.floating) or outputs.ndim < 2 or outputs.shape[1] < 2:
        return None
    if any(extent != 1 for extent in outputs.shape[2:]):
        return None
    return outputs.reshape(outputs.shape[:2])


def _are_probabilities(values: NDArray[np.float64]) -> bool:
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())


def _log_probabilities(values: NDArray[np.float64], are_probabilities: bool) -> NDArray[np.float64]:
    if are_probabilities:
        # The floor first, as ln 0 is not finite; log_softmax then takes out the rounding of the row sums.
        values = np.log(np.maximum(values, PROBABILITY_FLOOR))
    return np.maximum(log_softmax(values), math.log(PROBABILITY_FLOOR))


def _mean_square(values: NDArray[np.float64]) -> float:
    return float(np.mean(np.square(values)))


def _require_scores(scores: FloatArray) -> FloatArray:
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ValueError(f"Expected (N, K) class scores, got shape {scores.shape}; see class_scores().")
    return scores


def _require_same_shape(reference: FloatArray, candidate: FloatArray) -> None:
    if reference.shape != candidate.shape:
        raise ValueError(f"The outputs to compare have different shapes, {reference.shape} and {candidate.shape}.")
