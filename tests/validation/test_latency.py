import numpy as np
import pytest

import onnxshallow.validation.latency as module
from onnxshallow.validation.latency import speedup, time_models


class Clock:
    """A clock that only runs while a model does."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Model:
    def __init__(self, clock, name, seconds, order):
        self.clock, self.name, self.seconds, self.order = clock, name, seconds, order

    def run(self, feeds):
        assert feeds == {"x": 1}
        self.order.append(self.name)
        self.clock.now += self.seconds


@pytest.fixture
def models(monkeypatch):
    clock, order = Clock(), []
    monkeypatch.setattr(module, "time", clock)
    return {"slow": Model(clock, "slow", 3.0, order), "fast": Model(clock, "fast", 1.0, order)}, order


def test_each_run_is_timed(models):
    times = time_models(models[0], {"x": 1}, 5)
    assert times["slow"].tolist() == [3.0] * 5
    assert times["fast"].tolist() == [1.0] * 5


def test_models_take_turns_in_changing_order_after_warming_up(models):
    time_models(models[0], {"x": 1}, 3)
    assert models[1] == ["slow", "fast", "slow", "fast", "fast", "slow", "slow", "fast"]


def test_no_turn_is_begun_after_the_time_is_up(models):
    times = time_models(models[0], {"x": 1}, 100, seconds=9)
    assert len(times["slow"]) == len(times["fast"]) == 3


def test_the_speedup_is_the_ratio_of_the_medians():
    first = np.array([2.0, 2.0, 2.0, 90.0, 2.0])
    ratio, (low, high) = speedup(first, np.ones(5))
    assert ratio == 2
    assert low <= 2 <= high


def test_steady_times_leave_no_doubt():
    assert speedup(np.full(10, 3.0), np.full(10, 2.0)) == (1.5, (1.5, 1.5))


def test_noise_widens_the_interval_and_the_seed_fixes_it():
    random = np.random.default_rng(0)
    first, second = random.uniform(1, 3, 50), random.uniform(1, 3, 50)
    ratio, (low, high) = speedup(first, second)
    assert low < ratio < high
    assert speedup(first, second) == (ratio, (low, high))
    assert speedup(first, second, seed=1)[1] != (low, high)


def test_one_run_is_enough():
    assert speedup(np.array([2.0]), np.array([1.0])) == (2.0, (2.0, 2.0))
