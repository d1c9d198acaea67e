"""Intervals and the paired test, against published worked examples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm, t

from onnxshallow.validation.statistics import (
    beats_chance,
    largest_ratio,
    largest_share,
    mcnemar,
    paired_difference_interval,
    wilson_interval,
)

Pair = tuple[NDArray[np.bool_], NDArray[np.bool_]]

counts = st.integers(0, 400)
tables = st.tuples(counts, counts, counts, counts).filter(any)


def paired(both: int, only_first: int, only_second: int, neither: int) -> Pair:
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first, second


class TestWilsonInterval:
    @pytest.mark.parametrize(
        ("successes", "trials", "low", "high"),
        [
            (90, 100, 0.82563, 0.94477),
            # Newcombe, Two-sided confidence intervals for the single proportion (1998), table I, method 3.
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_published_values(self, successes: int, trials: int, low: float, high: float) -> None:
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)

    @given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.01, 0.999))
    def test_bounds_solve_the_score_equation(self, trials: int, share: float, confidence: float) -> None:
        successes = round(share * trials)
        z = norm.ppf((1 + confidence) / 2)
        for bound in wilson_interval(successes, trials, confidence):
            distance = abs(successes / trials - bound)
            assert distance == pytest.approx(z * math.sqrt(bound * (1 - bound) / trials), abs=1e-6)

    @given(st.integers(1, 10_000), st.floats(0, 1))
    def test_holds_the_share_and_stays_within_zero_and_one(self, trials: int, share: float) -> None:
        successes = round(share * trials)
        low, high = wilson_interval(successes, trials)
        assert 0 <= low <= successes / trials <= high <= 1

    @pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
    def test_refuses_impossible_counts(self, successes: int, trials: int) -> None:
        with pytest.raises(ValueError, match="successes"):
            wilson_interval(successes, trials)

    @pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
    def test_refuses_an_impossible_confidence(self, confidence: float) -> None:
        with pytest.raises(ValueError, match="confidence"):
            wilson_interval(5, 10, confidence)


class TestMcNemar:
    def test_agresti_approval_ratings(self) -> None:
        # A. Agresti, Categorical Data Analysis, table 10.1; p as mcnemar.exact of R's exact2x2 gives it.
        result = mcnemar(*paired(794, 150, 86, 570))
        assert (result.only_first, result.only_second) == (150, 86)
        assert result.p_value == pytest.approx(3.716e-05, rel=1e-3)

    def test_airway_reactivity(self) -> None:
        # Bentur et al. (2009): 2 * (1 + 8) / 2**8.
        assert mcnemar(*paired(1, 1, 7, 12)).p_value == pytest.approx(18 / 256)

    def test_many_discordant_samples(self) -> None:
        # (b - c)**2 / (b + c) is 0.4 with one degree of freedom.
        assert mcnemar(*paired(40_000, 5_050, 4_950, 0)).p_value == pytest.approx(0.3222, abs=1e-4)

    def test_no_discordant_sample_proves_nothing(self) -> None:
        assert mcnemar(*paired(10, 0, 0, 5)).p_value == 1.0

    @given(tables)
    def test_does_not_depend_on_the_order(self, table: tuple[int, int, int, int]) -> None:
        first, second = paired(*table)
        forward, backward = mcnemar(first, second), mcnemar(second, first)
        assert forward.p_value == pytest.approx(backward.p_value)
        assert (forward.only_first, forward.only_second) == (backward.only_second, backward.only_first)
        assert 0 <= forward.p_value <= 1


class TestPairedDifferenceInterval:
    @pytest.mark.parametrize(
        ("table", "low", "high", "rounding"),
        [
            # Newcombe (1998), paired data, method 10; his difference is first - second.
            ((36, 12, 2, 0), 0.0569, 0.3404, 5e-5),
            # Bentur et al. (2009) in Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014).
            ((1, 1, 7, 12), -0.507, -0.026, 5e-4),
        ],
    )
    def test_published_values(
        self, table: tuple[int, int, int, int], low: float, high: float, rounding: float
    ) -> None:
        first, second = paired(*table)
        assert paired_difference_interval(second, first) == pytest.approx((low, high), abs=rounding)

    def test_a_worse_second_network_is_below_zero(self) -> None:
        low, high = paired_difference_interval(*paired(800, 60, 10, 130))
        assert low < -0.05 < high < 0

    def test_networks_that_never_differ_still_have_a_width(self) -> None:
        low, high = paired_difference_interval(*paired(9_000, 0, 0, 1_000))
        assert low < 0 < high
        assert high - low < 0.002

    @given(tables)
    def test_holds_the_difference_and_turns_with_the_order(self, table: tuple[int, int, int, int]) -> None:
        first, second = paired(*table)
        low, high = paired_difference_interval(first, second)
        difference = second.mean() - first.mean()
        assert -1 <= low <= difference + 1e-12
        assert difference - 1e-12 <= high <= 1
        assert paired_difference_interval(second, first) == pytest.approx((-high, -low))

    @given(tables)
    def test_more_confidence_is_wider(self, table: tuple[int, int, int, int]) -> None:
        first, second = paired(*table)
        low, high = paired_difference_interval(first, second, 0.9)
        wider_low, wider_high = paired_difference_interval(first, second, 0.99)
        assert wider_low <= low + 1e-12
        assert high <= wider_high + 1e-12

    def test_covers_the_truth_as_often_as_it_says(self) -> None:
        # 2 % of the samples go one way, 1 % the other; a true difference of -0.01.
        generator = np.random.default_rng(0)
        draws = generator.multinomial(1_000, [0.90, 0.02, 0.01, 0.07], size=1_000)
        bounds = [paired_difference_interval(*paired(*(int(count) for count in draw))) for draw in draws]
        coverage = np.mean([low <= -0.01 <= high for low, high in bounds])
        assert 0.93 <= coverage <= 0.985


class TestLargestRatio:
    def test_of_a_mean_it_is_students_interval(self) -> None:
        values = np.array([1.0, 2.0, 4.0, 9.0])
        expected = t.interval(0.95, 3, values.mean(), values.std(ddof=1) / 2)[1]
        assert largest_ratio(values, np.ones(4)) == pytest.approx(expected)

    def test_what_is_the_same_of_all_is_certain(self) -> None:
        wholes = np.array([1.0, 5.0, 2.0])
        assert largest_ratio(0.25 * wholes, wholes) == pytest.approx(0.25)

    def test_covers_the_truth_as_often_as_it_says(self) -> None:
        generator = np.random.default_rng(0)
        wholes = generator.uniform(1, 3, (1_000, 40))
        parts = wholes * generator.uniform(0, 0.2, (1_000, 40))
        coverage = np.mean([largest_ratio(*pair) >= 0.1 for pair in zip(parts, wholes, strict=True)])
        assert 0.96 <= coverage <= 0.99  # of one side

    def test_one_sample_says_nothing_of_others(self) -> None:
        assert largest_ratio(np.zeros(1), np.ones(1)) == math.inf

    @pytest.mark.parametrize(("part", "expected"), [(0.0, 0.0), (1.0, math.inf)])
    def test_where_there_is_nothing_below(self, part: float, expected: float) -> None:
        assert largest_ratio(np.full(3, part), np.zeros(3)) == expected


def test_the_share_of_what_comes_most_often():
    assert largest_share(np.array([3, 1, 3, 2])) == 0.5
    assert largest_share(np.array([[0, 1], [0, 2], [0, 1], [0, 1]])) == 0.75


@pytest.mark.parametrize("compare", [mcnemar, paired_difference_interval])
class TestPairedInputs:
    def test_refuses_different_samples(self, compare) -> None:
        with pytest.raises(ValueError, match="same samples"):
            compare(np.ones(3, bool), np.ones(4, bool))

    def test_refuses_no_samples(self, compare) -> None:
        with pytest.raises(ValueError, match="same samples"):
            compare(np.ones(0, bool), np.ones(0, bool))

    def test_refuses_integers(self, compare) -> None:
        with pytest.raises(ValueError, match="boolean"):
            compare(np.ones(3, int), np.ones(3, int))


@pytest.mark.parametrize(
    ("right", "labels", "classes", "beats"),
    [
        (50, [0, 1] * 50, 10, False),  # who always says 0 is right as often
        (70, [0, 1] * 50, 10, True),
        (20, list(range(10)) * 10, 10, True),
        (15, list(range(10)) * 10, 10, False),  # it may be chance
        (100, [3] * 100, 10, False),  # one class only tells nothing
    ],
)
def test_more_right_than_a_guess(right, labels, classes, beats):
    assert beats_chance(np.arange(100) < right, np.array(labels), classes) is beats
