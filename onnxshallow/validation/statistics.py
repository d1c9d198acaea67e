"""What a count of right answers says about accuracy: intervals and a paired test.

Two networks are judged on the *same* samples, so their accuracies are correlated, and the interval and the
test for their difference must be the paired ones: they look at the samples on which the two networks differ.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "McNemar",
    "beats_chance",
    "largest_ratio",
    "largest_share",
    "mcnemar",
    "paired_difference_interval",
    "wilson_interval",
]


@dataclass(frozen=True)
class McNemar:
    """The result of McNemar's test.

    Attributes:
        only_first: samples that the first network alone gets right.
        only_second: samples that the second network alone gets right.
        p_value: how probable a split at least this uneven is when both networks are equally accurate.
    """

    only_first: int
    only_second: int
    p_value: float


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion; it stays inside [0, 1] and is sound for accuracies near 1.

    Args:
        successes: the number of samples answered right.
        trials: the number of samples.
        confidence: the coverage wanted, in (0, 1).

    Returns:
        The lower and the upper bound of the accuracy, as fractions.

    Raises:
        ValueError: there are no trials, the successes are not between 0 and the trials, or the confidence is
            not inside (0, 1).

    References:
        E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, Journal of the
        American Statistical Association 22 (1927).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials: need 0 <= successes <= trials and trials >= 1.")
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence of {confidence} is not a probability inside (0, 1); 0.95 is usual.")
    from scipy.stats import binomtest  # late, since importing it takes longer than any use of it

    found = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    # At the ends the bound is exactly 0 or 1; rounding may miss it by 1e-17, and leave the share outside.
    low = 0.0 if successes == 0 else float(found.low)
    high = 1.0 if successes == trials else float(found.high)
    return low, high


def mcnemar(first_correct: NDArray[np.bool_], second_correct: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test: does one network get more samples right than the other?

    Under the null hypothesis each sample that only one network gets right is a fair coin's throw, so the
    p-value is that of the two-sided binomial test. With no such sample it is 1.

    Args:
        first_correct: (N,) whether the first network is right on each sample.
        second_correct: (N,) the same for the second network, on the same samples in the same order.

    Raises:
        ValueError: the arrays are empty, are not boolean, or differ in shape.

    References:
        Q. McNemar, *Note on the sampling error of the difference between correlated proportions or
        percentages*, Psychometrika 12 (1947); the exact form is in A. Agresti, *Categorical Data Analysis*,
        section 10.1.
    """
    from scipy.stats import binomtest

    _, only_first, only_second, _ = _paired_counts(first_correct, second_correct)
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)


def paired_difference_interval(
    first_correct: NDArray[np.bool_], second_correct: NDArray[np.bool_], confidence: float = 0.95
) -> tuple[float, float]:
    """An interval for accuracy(second) - accuracy(first), both measured on the same samples.

    This is Newcombe's method 10: Wilson's intervals of the two accuracies, combined with the
    (continuity-corrected) correlation phi of the two networks' answers. Unlike Wald's interval it is not of
    width zero when the networks never differ, and it never leaves [-1, 1]. Negative values mean that the
    second network is worse.

    Args:
        first_correct: (N,) whether the first network is right on each sample.
        second_correct: (N,) the same for the second network, on the same samples in the same order.
        confidence: the coverage wanted, in (0, 1).

    Returns:
        The lower and the upper bound of the difference, as fractions.

    Raises:
        ValueError: the arrays are empty, are not boolean, or differ in shape; or the confidence is not inside
            (0, 1).

    References:
        R. G. Newcombe, *Improved confidence intervals for the difference between binomial proportions based
        on paired data*, Statistics in Medicine 17 (1998), 2635-2650, method 10.
    """
    both, only_first, only_second, neither = _paired_counts(first_correct, second_correct)
    samples = both + only_first + only_second + neither
    first, second = (both + only_first) / samples, (both + only_second) / samples
    first_low, first_high = wilson_interval(both + only_first, samples, confidence)
    second_low, second_high = wilson_interval(both + only_second, samples, confidence)
    phi = _corrected_phi(both, only_first, only_second, neither)
    difference = second - first
    below = _combined_radius(second - second_low, first_high - first, phi)
    above = _combined_radius(second_high - second, first - first_low, phi)
    return max(-1.0, difference - below), min(1.0, difference + above)


def largest_ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64], confidence: float = 0.95) -> float:
    """How large the ratio of two sums may be over other samples of the kind: the upper end of its interval.

    Args:
        parts: (N,) what each sample adds to the sum above.
        wholes: (N,) what it adds to the sum below; ones, where the mean of `parts` is wanted.
        confidence: the coverage wanted, in (0, 1).

    Returns:
        The bound; infinite for one sample, which says nothing of others, and where only the sum below is zero.

    References:
        W. G. Cochran, *Sampling Techniques*, third edition (1977), section 6.4: the variance of a ratio.
    """
    from scipy.special import stdtrit

    samples, part, whole = len(parts), float(parts.sum()), float(wholes.sum())
    if samples < 2 or whole <= 0:
        return 0.0 if samples > 1 and part == 0 else math.inf
    ratio = part / whole
    with np.errstate(invalid="ignore", over="ignore"):
        deviation = float(np.sqrt(np.sum(((parts - ratio * wholes) / whole) ** 2)))
    t = float(stdtrit(samples - 1, (1 + confidence) / 2))
    return ratio + t * deviation * math.sqrt(samples / (samples - 1))


def beats_chance(correct: NDArray[np.bool_], labels: NDArray[np.int64], classes: int) -> bool:
    """Whether right answers are more than who guesses would give, be it that he always says the most frequent label.

    Args:
        correct: (N,) whether each sample is answered right.
        labels: (N,) classes, counted from 0.
        classes: how many classes there are.

    Returns:
        Whether the lower end of the 95 % interval of the share is above that of a guess.
    """
    low, _ = wilson_interval(int(correct.sum()), len(correct))
    return low > max(1 / classes, largest_share(labels))


def largest_share(labels: NDArray[np.int64]) -> float:
    """The share of the label, or of the row of labels, that comes most often.

    Args:
        labels: (N,) or (N, Q), of one sample or more.
    """
    return float(np.unique(labels, axis=0, return_counts=True)[1].max()) / len(labels)


def _paired_counts(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """How many samples both, only the first, only the second, and neither network gets right."""
    # A 0/1 array would pass silently through `~`, which turns 1 into -2.
    if first.dtype != np.bool_ or second.dtype != np.bool_:
        raise ValueError(f"Expected boolean arrays, got {first.dtype} and {second.dtype}.")
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise ValueError(f"Expected two (N,) arrays of the same samples, got {first.shape} and {second.shape}.")
    both = int(np.count_nonzero(first & second))
    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(~first & second))
    return both, only_first, only_second, first.size - both - only_first - only_second


def _corrected_phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """The correlation of the two networks' right answers; a positive one is drawn towards 0 by N/2."""
    margins = (both + only_first, only_second + neither, both + only_second, only_first + neither)
    if 0 in margins:
        return 0.0
    covariance: float = both * neither - only_first * only_second
    if covariance > 0:
        covariance = max(0.0, covariance - sum(margins) / 4)  # each sample is counted in two of the four margins
    return covariance / math.sqrt(math.prod(margins))


def _combined_radius(own: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, own**2 - 2 * phi * own * other + other**2))
