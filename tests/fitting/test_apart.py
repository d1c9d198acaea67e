import numpy as np
import pytest
from scipy.optimize import check_grad

from onnxshallow.fitting.apart import _Problem, fit_apart
from tests.networks import signed


def spread_of(unknowns, seed=0):
    """A covariance whose variances differ by a factor of ten thousand."""
    mixed = signed((unknowns, unknowns), seed) * np.geomspace(1, 1e-2, unknowns)
    return (mixed @ mixed.T + 1e-4 * np.eye(unknowns)).astype(np.float32)


def sum_of_terms(rank, outputs=7, taps=4, channels=5, seed=1):
    """Weights (outputs, taps * channels) of a form, channels innermost."""
    outer, kernels, inner = (signed((rank, size), seed + n) for n, size in enumerate((outputs, taps, channels)))
    return np.einsum("rn,rt,rc->ntc", outer, kernels, inner).reshape(outputs, -1).astype(np.float32)


def error_of(left, spread, weight):
    return float(np.vdot(left @ spread, left) / np.vdot(weight @ spread, weight))


@pytest.mark.parametrize("rank", [2, 6])
def test_what_is_left_is_what_the_three_lack(rank):
    weight, spread = signed((7, 20)).astype(np.float32), spread_of(20)
    made = fit_apart(weight, spread, 5, rank, 20)
    assert (made.narrow.shape, made.kernels.shape, made.wide.shape) == ((rank, 5), (rank, 4), (7, rank))
    product = np.einsum("nr,rt,rc->ntc", made.wide, made.kernels, made.narrow).reshape(7, 20)
    np.testing.assert_allclose(weight - product, made.left, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2])
def test_weights_of_the_form_are_found(rank):
    weight, spread = sum_of_terms(rank), spread_of(20)
    assert error_of(fit_apart(weight, spread, 5, rank, 400).left, spread, weight) < 1e-4


def test_the_fit_starts_from_single_channels_and_lowers_their_error_far():
    weight, spread = signed((16, 72)).astype(np.float32), spread_of(72)
    errors = [error_of(fit_apart(weight, spread, 8, 14, steps).left, spread, weight) for steps in (0, 10, 100)]
    assert errors[2] < 0.8 * errors[1] < 0.8 * errors[0]


def test_with_as_many_as_single_channels_need_nothing_is_left():
    weight, spread = signed((7, 20)).astype(np.float32), spread_of(20)
    assert error_of(fit_apart(weight, spread, 5, 20, 0).left, spread, weight) < 1e-6


def test_the_gradient_is_that_of_the_error():
    problem = _Problem(signed((7, 20)).astype(np.float64), spread_of(20).astype(np.float64), 5, 6)
    at = problem.start() + 0.1 * signed((6 * 9,))
    off = check_grad(lambda v: problem.error(v)[0], lambda v: problem.error(v)[1], at, epsilon=1e-3)
    assert off < 0.02 * np.linalg.norm(problem.error(at)[1])


def test_a_channel_that_never_varies_does_no_harm():
    spread = spread_of(20)
    spread[::5] = spread[:, ::5] = 0
    spread[np.arange(0, 20, 5), np.arange(0, 20, 5)] = 1e-12
    made = fit_apart(signed((7, 20)).astype(np.float32), spread, 5, 6, 30)
    for part in (made.narrow, made.kernels, made.wide, made.left):
        assert np.all(np.isfinite(part))


def test_the_same_inputs_give_the_same_weights():
    weight, spread = signed((7, 20)).astype(np.float32), spread_of(20)
    one, other = (fit_apart(weight, spread, 5, 6, 30) for _ in range(2))
    np.testing.assert_array_equal(one.wide, other.wide)
    np.testing.assert_array_equal(one.narrow, other.narrow)
