"""Orders of channels that serve several sites."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.rewriting.lowering.ordering import common_order, is_together


def together(order: np.ndarray, groups: list[int]) -> bool:
    return is_together(np.array(groups)[order])


@pytest.mark.parametrize(
    ("groups", "expected"), [([0, 0, 1], True), ([2, 0, 0, 1], True), ([0, 1, 0], False), ([5], True)]
)
def test_what_lies_together(groups, expected):
    assert is_together(np.array(groups)) is expected


def test_the_order_stays_where_it_serves():
    assert common_order([np.array([2, 2, 0, 0]), np.array([1, 1, 1, 0])]).tolist() == [0, 1, 2, 3]


def test_one_site_is_sorted_by_group():
    assert common_order([np.array([2, 0, 1, 0, 2])]).tolist() == [1, 3, 2, 0, 4]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_nested_sets_can_all_be_served(scores, limits):
    sites = [(np.array(scores) < limit).astype(np.int64) for limit in limits]
    order = common_order(sites)
    assert sorted(order.tolist()) == list(range(len(scores)))
    assert all(is_together(groups[order]) for groups in sites)


def test_the_first_of_crossing_sites_is_served():
    first, crossing = [0, 0, 1, 1], [0, 1, 0, 1]
    assert together(common_order([np.array(first), np.array(crossing)]), first)
    assert together(common_order([np.array(crossing), np.array(first)]), crossing)


def test_later_sites_are_served_after_one_that_cannot_be():
    first, crossing, last = [0, 0, 1, 1, 1], [0, 1, 0, 1, 0], [0, 1, 1, 1, 1]
    order = common_order([np.array(groups) for groups in (first, crossing, last)])
    assert together(order, first)
    assert together(order, last)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_nested_sets_beside_a_third_group_can_all_be_served(scores, limits):
    ranks = np.array(scores)
    sites = [np.where(ranks >= 8, 1, np.where(ranks < limit, 0, 2)) for limit in limits]
    order = common_order(sites)
    assert all(is_together(groups[order]) for groups in sites)
