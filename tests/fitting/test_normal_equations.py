import numpy as np
import pytest

from onnxshallow.fitting.normal_equations import Centred, Products, System, factorise
from tests.networks import signed

GROUPS, ROWS, UNKNOWNS, OUTPUTS = 2, 300, 5, 3
PATCHES, TARGETS = signed((GROUPS, ROWS, UNKNOWNS)) + 1, signed((GROUPS, ROWS, OUTPUTS), 1) - 2
START, GIVEN = (
    signed((GROUPS, OUTPUTS, UNKNOWNS), 2).astype(np.float64),
    signed((GROUPS, OUTPUTS), 3).astype(np.float64),
)


def centred(values):
    values = values.astype(np.float64)
    return values - values.mean(axis=0)


def lower(matrix):
    """What is stored of a symmetric matrix."""
    return np.tril(matrix)


def test_the_sums_are_those_over_the_rows():
    system = System.of(PATCHES, TARGETS)
    assert system.count == ROWS
    for group in range(GROUPS):
        x, t = PATCHES[group].astype(np.float64), TARGETS[group].astype(np.float64)
        np.testing.assert_allclose(system.sums[group], x.sum(axis=0), rtol=1e-6)
        np.testing.assert_allclose(lower(system.gram[group]), lower(x.T @ x), rtol=1e-5)
        np.testing.assert_allclose(system.products.cross[group], x.T @ t, rtol=1e-4)
        np.testing.assert_allclose(system.products.sums[group], t.sum(axis=0), rtol=1e-6)


def test_rows_may_be_taken_in_one_after_another():
    whole, parts = System.of(PATCHES, TARGETS), System.of(PATCHES[:, :100], TARGETS[:, :100])
    parts.add(System.of(PATCHES[:, 100:], TARGETS[:, 100:]))
    assert parts.count == whole.count
    for name in ("sums", "gram"):
        np.testing.assert_allclose(lower(getattr(parts, name)), lower(getattr(whole, name)), rtol=1e-5)
    np.testing.assert_allclose(parts.products.cross, whole.products.cross, rtol=1e-4)
    np.testing.assert_allclose(parts.products.sums, whole.products.sums, rtol=1e-6)


def test_some_outputs_have_a_system_of_their_own():
    some, expected = System.of(PATCHES, TARGETS).outputs(slice(1, 3)), Products.of(PATCHES, TARGETS[:, :, 1:])
    np.testing.assert_allclose(some.products.cross, expected.cross, rtol=1e-4)
    np.testing.assert_array_equal(some.products.sums, expected.sums)
    assert some.count == ROWS


def test_the_left_hand_side_is_centred_and_knows_what_the_start_explains():
    for group, side in enumerate(System.of(PATCHES, TARGETS).centred(START)):
        x = centred(PATCHES[group])
        np.testing.assert_allclose(side.mean, PATCHES[group].mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(lower(side.s_xx), lower(x.T @ x), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(side.explained, x.T @ x @ START[group].T, rtol=1e-3, atol=1e-2)


def test_a_group_whose_input_does_not_vary_or_is_not_finite_has_none():
    patches = PATCHES.copy()
    patches[0] = 3
    assert [side is None for side in System.of(patches, TARGETS).centred(START)] == [True, False]
    patches[0, 0] = np.inf
    with np.errstate(invalid="ignore"):
        assert [side is None for side in System.of(patches, TARGETS).centred(START)] == [True, False]


@pytest.mark.parametrize("ridge", [1e-3, 10.0])
def test_the_solution_is_that_of_the_ridge_regression_around_the_start(ridge):
    system = System.of(PATCHES, TARGETS)
    sides = system.centred(START)
    factors = [factorise(side, ridge) for side in sides]
    weight, bias = system.solve(sides, factors, system.products, START, GIVEN)
    for group in range(GROUPS):
        x, t = centred(PATCHES[group]), centred(TARGETS[group])
        strength = ridge * np.trace(x.T @ x) / UNKNOWNS
        residual = t - x @ START[group].T
        expected = START[group] + np.linalg.solve(x.T @ x + strength * np.eye(UNKNOWNS), x.T @ residual).T
        np.testing.assert_allclose(weight[group], expected, rtol=1e-3, atol=1e-4)
        means = TARGETS[group].mean(axis=0) - weight[group] @ PATCHES[group].mean(axis=0)
        np.testing.assert_allclose(bias[group], means, rtol=1e-4)


def test_a_group_without_a_factor_keeps_what_it_has():
    system = System.of(PATCHES, TARGETS)
    sides = [None, system.centred(START)[1]]
    weight, bias = system.solve(sides, [None, factorise(sides[1], 1e-3)], system.products, START, GIVEN)
    np.testing.assert_array_equal(weight[0], START[0])
    np.testing.assert_array_equal(bias[0], GIVEN[0])
    assert np.all(weight[1] != START[1])


def test_the_ridge_is_raised_until_there_is_a_factor():
    assert factorise(None, 1.0) is None
    singular = Centred(np.zeros(2), np.ones((2, 2)), np.zeros((2, 1)))
    factor, is_lower = factorise(singular, 0.0)
    assert is_lower
    product = lower(factor) @ lower(factor).T
    np.testing.assert_allclose(product, np.ones((2, 2)), atol=1e-6)
    assert product[0, 0] > 1
    indefinite = Centred(np.zeros(2), np.diag([3.0, -1.0]), np.zeros((2, 1)))
    product = np.square(lower(factorise(indefinite, 1e-3)[0]))
    assert 1 < product[0, 0] - 3 < 30


def test_a_matrix_that_no_ridge_makes_definite_has_no_factor():
    assert factorise(Centred(np.zeros(2), np.diag([-1.0, -1.0]), np.zeros((2, 1))), 1e-3) is None
