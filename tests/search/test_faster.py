"""Of plans that do the same damage the faster one. The times are made up."""

from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.search import faster
from onnxshallow.search.faster import faster_of, kept_in_time
from onnxshallow.search.plan import Plan
from onnxshallow.validation.latency import Timing

PLANS = [Plan((), {}, damage) for damage in (0.1, 0.11, 0.09, 0.2)]


@pytest.fixture
def times(monkeypatch):
    """Let the original, then plans, take so many milliseconds; returns the plans that were timed."""
    monkeypatch.setattr(faster, "_CLEARLY", 1.05)
    asked = []

    def let(*milliseconds, noise=0.0):
        def timed(inputs, observation, plans):
            asked.append(list(plans))
            spread = 1 + noise * np.random.default_rng(0).uniform(-1, 1, (1 + len(plans), 40))
            return [Timing(ms / 1000 * row, 60) for ms, row in zip(milliseconds, spread, strict=False)]

        monkeypatch.setattr(faster, "timed", timed)
        return asked

    return let


def test_a_clearly_faster_plan_is_taken(times, inputs):
    times(1.0, 1.0, 0.8, 1.2)
    assert faster_of(inputs, None, PLANS[:3]) is PLANS[1]


def test_the_fastest_is_taken_where_each_is_clearly_faster_than_the_last(times, inputs):
    times(1.0, 1.0, 0.8, 0.7)
    assert faster_of(inputs, None, PLANS[:3]) is PLANS[2]


@pytest.mark.parametrize(("second", "noise"), [(0.97, 0.0), (0.95, 0.0), (0.9, 0.5)])
def test_what_noise_may_decide_is_left_alone(times, inputs, second, noise):
    times(1.0, 1.0, second, noise=noise)
    assert faster_of(inputs, None, PLANS[:2]) is PLANS[0]


def test_a_single_plan_is_not_timed(times, inputs):
    asked = times()
    assert faster_of(inputs, None, PLANS[:1]) is PLANS[0]
    assert asked == []


def test_no_more_than_six_plans_are_timed(times, inputs):
    asked = times(1.0, *[1.0] * 6)
    assert faster_of(inputs, None, PLANS * 3) is PLANS[0]
    assert len(asked[0]) == 6


def test_plans_that_are_too_slow_for_the_target_are_left_out(times, inputs):
    inputs = replace(inputs, config=inputs.config.model_copy(update={"target_latency": "0.8"}))
    times(1.0, 0.7, 0.9, 0.7, 0.7)  # by damage: the third, first, second and fourth plan
    assert kept_in_time(inputs, None, PLANS) == [PLANS[2], PLANS[1], PLANS[3]]


def test_where_no_plan_is_fast_enough_all_stay(times, inputs):
    inputs = replace(inputs, config=inputs.config.model_copy(update={"target_latency": "0.8"}))
    times(1.0, *[0.9] * 4)
    assert kept_in_time(inputs, None, PLANS) == PLANS


def test_without_a_target_no_plan_is_timed(times, inputs):
    asked = times()
    assert kept_in_time(inputs, None, PLANS) == PLANS
    assert asked == []
