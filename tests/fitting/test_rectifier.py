import numpy as np
import pytest

from onnxshallow.fitting.rectifier import Curves, Rectifier
from onnxshallow.fitting.regression import Rows, regress
from tests.fitting.test_regression import linear
from tests.networks import signed

TARGETS = np.array([[[-1.0, 2.0], [3.0, -4.0], [0.5, 9.0]]], dtype=np.float32)
NOW = np.array([[[0.5, 1.0], [2.0, -1.0], [-0.5, 7.0]]], dtype=np.float32)


def curves(*squared, square=0.5, linear_part=0.25, constant=0.1):
    shape = (1, 1, len(squared))
    values = (np.full(shape, value, dtype=np.float32) for value in (square, linear_part, constant))
    return Curves(np.array(squared).reshape(shape), *values)


def test_errors_are_those_after_the_activation_output_by_output():
    errors = Rectifier(6.0).errors(TARGETS, NOW)
    np.testing.assert_allclose(errors, [[0.5**2 + 1.0**2 + 0.5**2, 1.0**2 + 0.0 + 0.0]])


def test_without_bounds_the_errors_are_those_of_the_sum():
    np.testing.assert_allclose(
        Rectifier(lower=-np.inf).errors(TARGETS, NOW), np.square(TARGETS - NOW).sum(axis=1), rtol=1e-6
    )


def test_a_parabola_is_compared_with_the_activation_of_the_target():
    errors = Rectifier(curves=curves(True, False)).errors(TARGETS, NOW)
    made = 0.5 * NOW[0, :, 0] ** 2 + 0.25 * NOW[0, :, 0] + 0.1
    np.testing.assert_allclose(errors[0, 0], np.sum((made - [0, 3, 0.5]) ** 2), rtol=1e-6)
    np.testing.assert_allclose(errors[0, 1], 1 + 0 + 4)


def test_new_targets_cost_nothing_where_the_activation_hides_the_difference():
    renewed = Rectifier(6.0).renewed(TARGETS, NOW)
    np.testing.assert_allclose(renewed, [[[0.0, 2.0], [3.0, -1.0], [0.5, 7.0]]])


def test_bounds_may_differ_by_output():
    lower = np.array([0, -np.inf], dtype=np.float32).reshape(1, 1, 2)
    renewed = Rectifier(lower=lower).renewed(TARGETS, NOW)
    np.testing.assert_allclose(renewed[0, :, 0], [0.0, 3.0, 0.5])
    np.testing.assert_array_equal(renewed[0, :, 1], TARGETS[0, :, 1])


def test_a_step_through_a_parabola_goes_along_its_slope():
    renewed = Rectifier(curves=curves(True, False)).renewed(TARGETS, NOW)
    now, slope = NOW[0, :, 0], NOW[0, :, 0] + 0.25
    left = np.array([0, 3, 0.5]) - (0.5 * now**2 + 0.25 * now + 0.1)
    np.testing.assert_allclose(renewed[0, :, 0], now + 0.5 * slope * left / np.mean(slope**2), rtol=1e-5)


def test_a_step_through_a_parabola_looks_at_the_target_within_both_bounds():
    bounded = Rectifier(1.0, 0.25, curves(True, False)).renewed(TARGETS, NOW)
    now, slope = NOW[0, :, 0], NOW[0, :, 0] + 0.25
    left = np.array([0.25, 1, 0.5]) - (0.5 * now**2 + 0.25 * now + 0.1)
    np.testing.assert_allclose(bounded[0, :, 0], now + 0.5 * slope * left / np.mean(slope**2), rtol=1e-5)


def test_some_outputs_keep_their_own_bounds_and_curves():
    upper = np.array([1, 2, 3], dtype=np.float32).reshape(1, 1, 3)
    found = Rectifier(upper, 0.0, curves(True, False, True)).outputs(slice(None, None, 2))
    assert (found.upper.tolist(), found.lower) == ([[[1, 3]]], 0.0)
    assert found.curves.squared.tolist() == [[[True, True]]]


@pytest.mark.parametrize("seed", range(4))
def test_a_fit_through_a_parabola_is_nearer_to_the_activation_than_a_fit_to_the_sum(seed):
    random = np.random.default_rng(seed)
    patches = random.normal(size=(1, 4000, 8)).astype(np.float32)
    mixed = patches @ random.normal(size=(8, 3)).astype(np.float32)
    targets = mixed + 0.3 * signed((1, 4000, 3), seed=seed)
    curve = Curves(
        np.ones((1, 1, 3), dtype=bool), *(np.full((1, 1, 3), value, dtype=np.float32) for value in (0.1, 0.5, 0.6))
    )
    rectifier = Rectifier(curves=curve)

    def error(rounds):
        fit = regress(linear(3, 8), Rows(patches, targets), 1e-3, rectifier=rectifier, rounds=rounds).convolution
        now = patches @ fit.weight.reshape(3, 8).T.astype(np.float32) + fit.bias.astype(np.float32)
        return rectifier.errors(targets, now)

    assert np.all(error(3) < 0.97 * error(0))


def test_each_output_keeps_its_best_round(monkeypatch):
    """Rounds that make one output worse do not cost the others theirs."""
    patches = signed((1, 500, 2))
    targets = np.concatenate([np.maximum(patches[..., :1], 0) * 3, patches[..., 1:]], axis=2)
    renewed = Rectifier.renewed

    def spoilt(self, targets, now):
        found = renewed(self, targets, now).copy()
        found[..., 1] = 100
        return found

    single = Rows(patches, targets[..., :1])
    alone = regress(linear(1, 2), single, 1e-6, rectifier=Rectifier(), rounds=2).convolution
    monkeypatch.setattr(Rectifier, "renewed", spoilt)
    fit = regress(linear(2, 2), Rows(patches, targets), 1e-6, rectifier=Rectifier(), rounds=2).convolution
    np.testing.assert_allclose(fit.weight.reshape(2, 2)[1], [0, 1], atol=1e-3)
    np.testing.assert_allclose(fit.weight.reshape(2, 2)[0], alone.weight.reshape(2), rtol=1e-3, atol=1e-4)
