"""Numbers tied to each other by powers of two and shifts."""

import numpy as np
import pytest

from onnxshallow.rewriting.lowering.scales import Scales


def places(*numbers):
    return np.array(numbers)


def solved(scales, wanted, weight=None):
    wanted = np.array(wanted, float)
    return scales.solve(wanted, np.ones(len(wanted)) if weight is None else np.array(weight, float)).tolist()


def test_numbers_that_nothing_ties_are_what_is_wanted():
    assert solved(Scales(3), [1, -2, 0]) == [1, -2, 0]


def test_a_tie_holds_and_the_rest_is_least_squares():
    scales = Scales(2)
    assert scales.tie(places(0), places(1), shift=1.0)
    assert solved(scales, [0, 0]) == [0.5, -0.5]
    assert solved(scales, [0, 0], [3, 1]) == [0.25, -0.75]


def test_a_chain_of_squares_is_chosen_from_its_end():
    scales = Scales(4)
    for place in range(3):
        assert scales.tie(places(place + 1), places(place), power=1, shift=1.0)
    found = solved(scales, [0, 0, 0, 0], [0, 0, 0, 1])
    assert found == pytest.approx([-0.875, -0.75, -0.5, 0])


@pytest.mark.parametrize("seed", range(20))
def test_ties_in_any_order_hold(seed):
    random = np.random.default_rng(seed)
    truth, scales = random.normal(size=12), Scales(12)
    ties = []
    for _ in range(20):
        (first, second), power = random.choice(12, 2, replace=False), int(random.integers(-1, 2))
        shift = truth[first] - 2.0**power * truth[second]  # so that all of them can hold at once
        ties.append((first, second, power, shift))
        assert scales.tie(places(first), places(second), power, shift)
    found = scales.solve(random.normal(size=12), np.ones(12))
    for first, second, power, shift in ties:
        assert found[first] == pytest.approx(2.0**power * found[second] + shift, abs=1e-6)


def test_what_cannot_be_is_told_and_the_rest_tied():
    scales = Scales(3)
    assert scales.tie(places(0), places(1))
    assert scales.tie(places(0), places(1), shift=0.0)
    assert not scales.tie(places(0, 2), places(1, 1), shift=np.array([1.0, 2.0]))
    assert solved(scales, [3, 3, 5]) == [3, 3, 5]


def test_a_number_and_twice_it_at_once_are_known():
    scales = Scales(2)
    assert scales.tie(places(0), places(1), power=1)
    assert scales.tie(places(0), places(1), shift=3.0)
    assert solved(scales, [0, 0]) == [6, 3]
    assert not scales.fix(places(1), 4.0)


def test_fixed_numbers_pass_along_ties():
    scales = Scales(4)
    assert scales.fix(places(0, 3), 2.0)
    assert scales.tie(places(0, 2), places(1, 1), power=1)
    assert solved(scales, [9, 9, 9, 9]) == [2, 1, 2, 2]
    assert scales.tie(places(3), places(0))
    assert not scales.tie(places(3), places(1))


def test_a_copy_is_tied_by_itself():
    scales = Scales(2)
    tried = scales.copy()
    tried.tie(places(0), places(1), shift=2.0)
    assert solved(scales, [0, 0]) == [0, 0]
    assert solved(tried, [0, 0]) == [1, -1]
