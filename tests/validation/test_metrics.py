"""Distances between outputs and accuracy, by hand, by scipy and by property."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import special
from scipy.stats import entropy

from onnxshallow.errors import DataError
from onnxshallow.validation.metrics import (
    agreement,
    as_log_probabilities,
    class_scores,
    kl_divergence,
    log_softmax,
    mean_squared_error,
    relative_error,
    top_k_correct,
)

Floats = NDArray[np.float64]

shapes = st.tuples(st.integers(1, 6), st.integers(2, 8))
logits = hnp.arrays(np.float64, shapes, elements=st.floats(-12, 12))
# A few logits may sum to 1 by chance and then read as probabilities: a last row tells that they are not.
pairs = shapes.flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.floats(-12, 12))] * 2)
).map(lambda pair: tuple(np.vstack([array, np.full_like(array[:1], -1.0)]) for array in pair))


def softmax(scores: Floats) -> Floats:
    """Probabilities along axis 1."""
    return np.asarray(special.softmax(scores, axis=1))


class TestLogSoftmax:
    def test_by_hand(self) -> None:
        expected = np.log([[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]])
        np.testing.assert_allclose(log_softmax(np.log([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]])), expected)

    @given(logits)
    def test_agrees_with_scipy(self, scores: Floats) -> None:
        np.testing.assert_allclose(log_softmax(scores), special.log_softmax(scores, axis=1))

    def test_does_not_overflow(self) -> None:
        scores = np.array([[1e4, 0.0], [-1e4, -1e4]], np.float32)
        np.testing.assert_allclose(log_softmax(scores), [[0, -1e4], [-math.log(2)] * 2])

    def test_works_along_axis_one(self) -> None:
        scores = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
        np.testing.assert_allclose(np.exp(log_softmax(scores)).sum(axis=1), np.ones((2, 4, 5)))

    def test_passes_nan_on(self) -> None:
        values = log_softmax(np.array([[np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0]]))
        assert np.isnan(values).all(axis=1).tolist() == [True, True, False]


class TestAsLogProbabilities:
    @given(logits.map(lambda scores: np.vstack([scores, np.full_like(scores[:1], -1.0)])))
    def test_reads_the_three_forms_alike(self, scores: Floats) -> None:
        expected = log_softmax(scores)
        np.testing.assert_allclose(as_log_probabilities(scores), expected, atol=1e-9)
        np.testing.assert_allclose(as_log_probabilities(softmax(scores)), expected, atol=1e-9)
        np.testing.assert_allclose(as_log_probabilities(expected), expected, atol=1e-9)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_recognizes_rounded_probabilities(self, dtype: type) -> None:
        scores = np.random.default_rng(0).normal(size=(64, 1000))
        rounded = softmax(scores).astype(dtype)
        np.testing.assert_allclose(as_log_probabilities(rounded), log_softmax(scores), atol=0.02)

    def test_a_probability_of_zero_is_finite(self) -> None:
        certain = as_log_probabilities(np.array([[1.0, 0.0]]))
        np.testing.assert_allclose(certain, [[0.0, math.log(1e-12)]], atol=1e-11)

    def test_one_row_that_is_no_distribution_makes_all_of_them_logits(self) -> None:
        scores = np.array([[0.25, 0.75], [0.5, 3.0]])
        np.testing.assert_allclose(as_log_probabilities(scores), log_softmax(scores))

    def test_independent_sigmoids_are_no_distribution(self) -> None:
        scores = np.array([[0.9, 0.8], [0.1, 0.2]])
        np.testing.assert_allclose(as_log_probabilities(scores), log_softmax(scores))

    @pytest.mark.parametrize("shape", [(3,), (3, 4, 5), (3, 0)])
    def test_refuses_what_is_no_row_of_scores(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"\(N, K\)"):
            as_log_probabilities(np.zeros(shape))


class TestKlDivergence:
    def test_by_hand(self) -> None:
        reference, candidate = np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]])
        expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
        np.testing.assert_allclose(kl_divergence(reference, candidate), [expected])
        np.testing.assert_allclose(kl_divergence(np.log(reference), np.log(candidate)), [expected])

    def test_by_hand_from_logits(self) -> None:
        reference, candidate = np.log([[3.0, 3.0], [1.0, 3.0]]), np.log([[9.0, 3.0], [1.0, 3.0]])
        expected = 0.5 * math.log(4 / 3)
        np.testing.assert_allclose(kl_divergence(reference, candidate), [expected, 0.0], atol=1e-15)

    @given(pairs)
    def test_agrees_with_scipy_and_is_never_negative(self, pair: tuple[Floats, Floats]) -> None:
        reference, candidate = pair
        divergence = kl_divergence(reference, candidate)
        assert (divergence >= 0).all()
        expected = entropy(softmax(reference), softmax(candidate), axis=1)
        np.testing.assert_allclose(divergence, expected, rtol=1e-6, atol=1e-9)

    @given(pairs)
    def test_a_softmax_at_the_end_changes_nothing(self, pair: tuple[Floats, Floats]) -> None:
        reference, candidate = pair
        expected = kl_divergence(reference, candidate)
        actual = kl_divergence(softmax(reference), softmax(candidate))
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)

    def test_logits_that_sum_to_one_by_chance_are_read_as_the_other_output_is(self) -> None:
        reference, chance = np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]])
        expected = -0.5 * (math.log(softmax(chance)[0, 0]) + math.log(softmax(chance)[0, 1])) - math.log(2)
        np.testing.assert_allclose(kl_divergence(reference, chance), [expected])

    def test_is_zero_for_the_same_and_bounded_for_the_opposite(self) -> None:
        certain = np.array([[1000.0, 0.0], [0.0, 1000.0]])
        np.testing.assert_array_equal(kl_divergence(certain, certain), [0, 0])
        np.testing.assert_allclose(kl_divergence(certain, certain[::-1]), [-math.log(1e-12)] * 2)

    def test_broken_candidate_is_nan_there_alone(self) -> None:
        divergence = kl_divergence(np.zeros((2, 2)), np.array([[np.nan, 0.0], [0.0, 0.0]]))
        assert np.isnan(divergence).tolist() == [True, False]

    def test_refuses_different_shapes(self) -> None:
        with pytest.raises(ValueError, match="different shapes"):
            kl_divergence(np.zeros((2, 3)), np.zeros((2, 4)))


class TestSoftenedKlDivergence:
    def test_by_hand(self) -> None:
        reference, candidate = np.array([[0.64, 0.36]]), np.array([[0.16, 0.84]])
        before = np.array([0.8, 0.6]) / 1.4
        after = np.sqrt([0.16, 0.84]) / (0.4 + math.sqrt(0.84))
        expected = 4 * np.sum(before * np.log(before / after))
        np.testing.assert_allclose(kl_divergence(reference, candidate, 2.0), [expected])
        np.testing.assert_allclose(kl_divergence(np.log(reference), np.log(candidate), 2.0), [expected])

    @given(pairs)
    def test_at_one_it_is_the_plain_divergence(self, pair: tuple[Floats, Floats]) -> None:
        reference, candidate = pair
        plain = kl_divergence(reference, candidate)
        np.testing.assert_array_equal(kl_divergence(reference, candidate, 1.0), plain)
        np.testing.assert_allclose(kl_divergence(reference, candidate, 1 + 1e-9), plain, rtol=1e-5, atol=1e-9)

    @given(pairs, st.floats(0.5, 20))
    def test_it_is_that_of_the_logits_over_t_times_t_squared(
        self, pair: tuple[Floats, Floats], temperature: float
    ) -> None:
        reference, candidate = pair
        divergence = kl_divergence(reference, candidate, temperature)
        assert (divergence >= 0).all()
        softened = [softmax(scores / temperature) for scores in (reference, candidate)]
        expected = temperature**2 * entropy(*softened, axis=1)
        np.testing.assert_allclose(divergence, expected, rtol=1e-6, atol=1e-9)

    @given(pairs)
    def test_a_softmax_at_the_end_changes_nothing(self, pair: tuple[Floats, Floats]) -> None:
        reference, candidate = pair
        expected = kl_divergence(reference, candidate, 2.0)
        actual = kl_divergence(softmax(reference), softmax(candidate), 2.0)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)

    def test_a_high_temperature_makes_it_half_the_variance_of_the_differences_of_the_logits(self) -> None:
        random = np.random.default_rng(0)
        reference, candidate = random.normal(scale=3, size=(2, 50, 7))
        expected = np.var(candidate - reference, axis=1) / 2
        np.testing.assert_allclose(kl_divergence(reference, candidate, 1e4), expected, rtol=1e-2)
        assert np.abs(kl_divergence(reference, candidate) / expected - 1).max() > 0.5

    def test_classes_that_are_not_the_first_count_more(self) -> None:
        certain, swapped = np.array([[10.0, 0.0, 0.0]]), np.array([[10.0, 1.0, -1.0]])
        plain, softened = (kl_divergence(certain, swapped, temperature)[0] for temperature in (1.0, 2.0))
        assert softened > 50 * plain > 0

    def test_a_shift_of_all_logits_changes_nothing(self) -> None:
        reference = np.random.default_rng(0).normal(size=(5, 4))
        np.testing.assert_allclose(kl_divergence(reference, reference + 7, 2.0), 0, atol=1e-12)

    def test_the_opposite_is_bounded(self) -> None:
        certain = np.array([[1000.0, 0.0], [0.0, 1000.0]])
        np.testing.assert_array_equal(kl_divergence(certain, certain, 2.0), [0, 0])
        np.testing.assert_allclose(kl_divergence(certain, certain[::-1], 2.0), [-2 * math.log(1e-12)] * 2, rtol=1e-5)

    def test_broken_candidate_is_nan_there_alone(self) -> None:
        divergence = kl_divergence(np.zeros((2, 2)), np.array([[np.nan, 0.0], [0.0, 0.0]]), 2.0)
        assert np.isnan(divergence).tolist() == [True, False]


class TestTopKCorrect:
    scores = np.array([[0.1, 0.5, 0.4], [0.9, 0.05, 0.05], [0.2, 0.3, 0.5]])

    @pytest.mark.parametrize(("k", "expected"), [(1, [False, True, True]), (2, [True, True, True]), (5, [True] * 3)])
    def test_by_hand(self, k: int, expected: list[bool]) -> None:
        assert top_k_correct(self.scores, np.array([2, 0, 2]), k).tolist() == expected

    @given(
        hnp.arrays(np.float32, (5, 6), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])),
        hnp.arrays(np.int64, 5, elements=st.integers(0, 5)),
        st.integers(1, 7),
    )
    def test_ties_rank_as_a_stable_sort_has_them(
        self, scores: NDArray[np.float32], labels: NDArray[np.int64], k: int
    ) -> None:
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        expected = (best == labels[:, None]).any(axis=1)
        np.testing.assert_array_equal(top_k_correct(scores, labels, k), expected)

    def test_top_one_is_argmax(self) -> None:
        assert top_k_correct(self.scores, self.scores.argmax(axis=1), 1).all()

    def test_nan_is_never_right(self) -> None:
        assert not top_k_correct(np.full((1, 3), np.nan), np.array([0]), 3).any()

    def test_small_unsigned_labels(self) -> None:
        assert top_k_correct(self.scores, np.array([1, 0, 2], np.uint8), 1).all()

    @pytest.mark.parametrize("labels", [[0, 1, 3], [-1, 0, 1]])
    def test_refuses_a_class_the_network_has_not(self, labels: list[int]) -> None:
        with pytest.raises(DataError, match="3 classes: labels must count from 0 to 2"):
            top_k_correct(self.scores, np.array(labels), 1)

    def test_refuses_labels_of_other_samples_or_kinds(self) -> None:
        with pytest.raises(ValueError, match="labels"):
            top_k_correct(self.scores, np.array([0, 1]), 1)
        with pytest.raises(ValueError, match="labels"):
            top_k_correct(self.scores, np.array([0.0, 1.0, 2.0]), 1)  # type: ignore[arg-type]

    def test_refuses_top_zero(self) -> None:
        with pytest.raises(ValueError, match="Top-0"):
            top_k_correct(self.scores, np.array([0, 1, 2]), 0)


class TestAgreement:
    def test_by_hand(self) -> None:
        reference = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
        candidate = np.array([[0.0, 9.0], [1.0, 3.0], [0.4, 0.5], [0.1, 0.2]])
        assert agreement(reference, candidate) == 0.75

    def test_counts_every_place_of_a_map(self) -> None:
        reference = np.zeros((1, 2, 2, 2))
        candidate = reference.copy()
        candidate[0, 1, 0, 0] = 1
        assert agreement(reference, candidate) == 0.75

    def test_nan_never_agrees(self) -> None:
        broken = np.array([[np.nan, 1.0], [0.0, 1.0]])
        assert agreement(broken, broken) == 0.5

    def test_refuses_no_samples_and_no_classes(self) -> None:
        for shape in [(0, 3), (3,)]:
            with pytest.raises(ValueError, match="at least one sample"):
                agreement(np.zeros(shape), np.zeros(shape))


class TestErrors:
    def test_by_hand(self) -> None:
        reference, candidate = np.array([3.0, 4.0]), np.array([3.0, 3.0])
        assert mean_squared_error(reference, candidate) == 0.5
        assert relative_error(reference, candidate) == pytest.approx(0.2)

    def test_half_precision_does_not_overflow(self) -> None:
        reference = np.full((4, 4), 3e4, np.float16)
        assert relative_error(reference, -reference) == pytest.approx(2.0)

    def test_zero_over_zero_is_no_error(self) -> None:
        assert relative_error(np.zeros(3), np.zeros(3)) == 0.0
        assert relative_error(np.zeros(3), np.ones(3)) == math.inf

    @given(logits, st.floats(0.01, 100))
    def test_relative_error_has_no_units(self, reference: Floats, scale: float) -> None:
        candidate = reference + 1
        expected = relative_error(reference, candidate)
        assert relative_error(scale * reference, scale * candidate) == pytest.approx(expected)

    @pytest.mark.parametrize("size", [1e200, 1e-200])
    def test_squares_need_not_be_held(self, size: float) -> None:
        assert relative_error(np.array([size, -size]), np.array([size, 0.0])) == pytest.approx(math.sqrt(0.5))

    def test_nan_is_passed_on(self) -> None:
        assert math.isnan(relative_error(np.ones(2), np.array([np.nan, 1.0])))

    def test_refuses_different_shapes_and_nothing(self) -> None:
        with pytest.raises(ValueError, match="different shapes"):
            mean_squared_error(np.zeros((2, 1)), np.zeros((1, 2)))
        with pytest.raises(ValueError, match="no element"):
            relative_error(np.zeros((0, 2)), np.zeros((0, 2)))


class TestClassScores:
    @pytest.mark.parametrize("shape", [(4, 10), (4, 10, 1), (4, 10, 1, 1)])
    def test_takes_rows_of_scores(self, shape: tuple[int, ...]) -> None:
        outputs = np.arange(40, dtype=np.float16).reshape(shape)
        scores = class_scores(outputs)
        assert scores is not None
        np.testing.assert_array_equal(scores, outputs.reshape(4, 10))
        assert scores.dtype == np.float16

    @pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 10, 7, 7), (4, 10, 1, 2)])
    def test_leaves_other_shapes(self, shape: tuple[int, ...]) -> None:
        assert class_scores(np.zeros(shape, np.float32)) is None

    def test_leaves_integers(self) -> None:
        assert class_scores(np.zeros((4, 10), np.int64)) is None
