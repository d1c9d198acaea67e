import numpy as np
import pytest
from scipy.special import softmax

from onnxshallow.search.sensitivity.measures import damage
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
