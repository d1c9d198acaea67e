import numpy as np
import pytest
from scipy.special import softmax

from onnxshallow.search.sensitivity.measures import damage, in_words
from onnxshallow.validation.kinds import OutputKind
from onnxshallow.validation.metrics import kl_divergence
from tests.networks import signed


@pytest.mark.parametrize("measure", ["kl", "mse", "disagreement"])
def test_an_output_that_has_not_moved_is_not_damaged(measure):
    logits = signed((20, 5))
    assert damage(measure, [logits], [logits.copy()]) == pytest.approx(0, abs=1e-12)


def test_kl_by_hand():
    p, q = np.array([0.7, 0.3]), np.array([0.5, 0.5])
    soft = np.sqrt(p) / np.sum(np.sqrt(p))
    expected = 4 * np.sum(soft * np.log(soft / q))
    assert damage("kl", [np.log([p])], [np.log([q])]) == pytest.approx(expected)


def test_kl_is_the_mean_of_the_divergence_at_a_temperature_of_two():
    before, after = 3 * signed((20, 5)), 3 * signed((20, 5), 1)
    assert damage("kl", [before], [after]) == np.mean(kl_divergence(before, after, 2.0))


def test_kl_hears_of_classes_that_are_far_from_the_first():
    certain = np.array([[12.0, 0.0, 0.0]])
    swapped = np.array([[12.0, 2.0, -2.0]])
    assert damage("kl", [certain], [swapped]) > 100 * np.mean(kl_divergence(certain, swapped))


def test_kl_reads_probabilities_and_logits_alike():
    before, after = 3 * signed((20, 5)), 3 * signed((20, 5), 1)
    expected = damage("kl", [before], [after])
    assert damage("kl", [softmax(before, axis=1)], [softmax(after, axis=1)]) == pytest.approx(expected)


def test_mse_is_relative_to_the_mean_square():
    assert damage("mse", [np.full((4, 3), 2.0)], [np.full((4, 3), 3.0)]) == pytest.approx(0.25)


def test_disagreement_is_the_share_of_changed_classes():
    before = np.eye(4)
    after = before.copy()
    after[0] = [0, 2, 0, 0]
    assert damage("disagreement", [before], [after]) == pytest.approx(0.25)


@pytest.mark.parametrize("measure", ["kl", "disagreement"])
def test_outputs_that_are_no_classes_are_measured_by_mse(measure):
    before, after = signed((2, 3, 4, 4)), signed((2, 3, 4, 4), 1)
    assert damage(measure, [before], [after]) == damage("mse", [before], [after])


def test_several_outputs_are_averaged():
    one, two = np.full((4, 3), 2.0), np.full((4, 3), 1.0)
    assert damage("mse", [one, two], [one, 2 * two]) == pytest.approx(0.5)


def test_outputs_of_integers_do_not_count():
    numbers = np.arange(4)
    assert damage("mse", [numbers], [numbers + 1]) == 0


@pytest.mark.parametrize("ruined", [np.full((4, 3), np.nan), np.full((4, 3), np.inf), np.zeros((4, 2))])
@pytest.mark.parametrize("measure", ["kl", "mse", "disagreement"])
def test_a_ruined_output_is_damaged_beyond_comparison(measure, ruined):
    assert damage(measure, [signed((4, 3))], [ruined]) == 1e6


def test_mse_of_an_output_that_was_zero_is_bounded():
    assert damage("mse", [np.zeros((4, 3))], [np.ones((4, 3))]) == 1e6


@pytest.mark.parametrize("measure", ["kl", "mse", "disagreement"])
def test_masked_classes_are_no_damage(measure):
    """A class whose score both networks give as -inf."""
    before, after = np.array([[1.0, -np.inf, 3.0]]), np.array([[3.0, -np.inf, 1.0]])
    assert damage(measure, [before], [before]) == pytest.approx(0, abs=1e-9)
    assert 0 < damage(measure, [before], [after]) < 100
    assert damage(measure, [np.zeros((1, 3))], [after]) == 1e6


# Outputs by what they mean.


def kind(name, axis=1):
    return [OutputKind("y", name, "", axis)]


def test_an_embedding_is_damaged_by_its_turn():
    before = np.array([[3.0, 0.0], [0.0, 2.0]])
    after = np.array([[1.0, 1.0], [0.0, 9.0]])  # the first turns by 45 degrees, the second only grows
    for measure in ("kl", "disagreement"):
        assert damage(measure, [before], [after], kind("embedding")) == pytest.approx((1 - np.sqrt(0.5)) / 2)
    assert damage("mse", [before], [after], kind("embedding")) == damage("mse", [before], [after])


def test_a_mask_is_damaged_pixel_by_pixel():
    before, after = 3 * signed((2, 4, 3, 3)), 3 * signed((2, 4, 3, 3), 1)
    pixels, others = (values.transpose(0, 2, 3, 1).reshape(-1, 4) for values in (before, after))
    assert damage("kl", [before], [after], kind("mask")) == pytest.approx(np.mean(kl_divergence(pixels, others, 2.0)))
    changed = np.mean(pixels.argmax(1) != others.argmax(1))
    assert damage("disagreement", [before], [after], kind("mask")) == pytest.approx(changed)


def test_a_sequence_is_damaged_where_any_position_changed():
    before = np.stack([np.eye(3), np.eye(3)])  # (N, T, K)
    after = before.copy()
    after[0, 1] = [0, 0, 5]
    assert damage("disagreement", [before], [after], kind("classes", 2)) == pytest.approx(0.5)
    flat, other = before.reshape(-1, 3), after.reshape(-1, 3)
    expected = np.mean(kl_divergence(flat, other, 2.0))
    assert damage("kl", [before], [after], kind("classes", 2)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["boxes", "scores", "regression"])
def test_other_kinds_are_measured_by_relative_error(name):
    before, after = signed((5, 4)), signed((5, 4), 1)
    assert damage("kl", [before], [after], kind(name)) == damage("mse", [before], [after])


def test_heads_are_averaged():
    kinds = [OutputKind("offsets", "boxes", ""), OutputKind("a", "classes", ""), OutputKind("b", "classes", "")]
    before, after = ([signed((5, 4), seed + n) for n in range(3)] for seed in (0, 3))
    single = [damage("kl", [b], [a], [k]) for b, a, k in zip(before, after, kinds, strict=True)]
    assert damage("kl", before, after, kinds) == pytest.approx(np.mean(single))


def test_measures_in_words():
    assert in_words("kl") == "softened divergence, T = 2"
    assert in_words("another") == "another"


def test_outputs_without_elements_say_nothing():
    x = np.random.default_rng(0).normal(size=(6, 3))
    empty = np.zeros((6, 0))
    assert damage("mse", [x, empty], [2 * x, empty]) == damage("mse", [x], [2 * x])
    assert damage("kl", [empty], [empty]) == 0


def test_what_is_infinite_in_the_original_alone_is_ruined():
    before, after = np.array([[np.inf, 1.0, 2.0]]), np.array([[3.0, 1.0, 2.0]])
    assert damage("mse", [before], [after]) == damage("mse", [after], [before]) > 1000
