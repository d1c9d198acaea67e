"""Of plans that do the same damage the faster one. Efforts and times are made up."""

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
    asked = []

    def let(*milliseconds):
        def timed(inputs, observation, plans):
            asked.append(list(plans))
            return [Timing(np.full(40, ms / 1000), 60) for ms in milliseconds[: 1 + len(plans)]]

        monkeypatch.setattr(faster, "timed", timed)
        return asked

    return let


@pytest.fixture
def efforts(monkeypatch):
    """Let plans be so much work each; returns these plans and those that were looked at."""
    asked = []

    class Named(Plan):
        @property
        def keys(self):
            return frozenset({str(id(self))})

    def let(*work):
        plans = [Named((), {}, 0.1) for _ in work]
        monkeypatch.setattr(faster, "unfitted", lambda inputs, observation, plan: asked.append(plan) or plan)
        monkeypatch.setattr(faster, "Network", lambda plan: plan)
        known = {plan.keys: each for plan, each in zip(plans, work, strict=True)}
        monkeypatch.setattr(faster, "count_effort", lambda plan: known[plan.keys])
        return plans, asked

    return let


@pytest.mark.parametrize(
    ("work", "taken"),
    [((10, 8), 1), ((10, 8, 7), 2), ((10, 12, 8), 2), ((10, 9.6), 0), ((10, 10.5), 0), ((10, 9.7, 9.4), 2)],
)
def test_the_least_work_is_taken_where_it_is_clearly_less(efforts, inputs, work, taken):
    plans, _ = efforts(*work)
    assert faster_of(inputs, None, plans) is plans[taken]


def test_a_single_plan_is_not_looked_at(efforts, inputs):
    plans, asked = efforts(10)
    assert faster_of(inputs, None, plans) is plans[0]
    assert asked == []


def test_no_more_than_sixteen_plans_are_looked_at(efforts, inputs):
    plans, asked = efforts(*[10] * 16, 1)
    assert faster_of(inputs, None, plans) is plans[0]
    assert asked == plans[:16]


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
