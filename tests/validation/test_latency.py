import numpy as np
import pytest

import onnxshallow.validation.latency as module
from onnxshallow.validation.latency import Timing, median_interval, speedup, time_in_parts, time_models
from tests.networks import smooth
from tests.runs import net


def like_itself(ratio):
    """The interval of a ratio that is the same in every turn."""
    return ratio * 0.99, ratio * 1.01


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
    assert times["slow"].turns.tolist() == [3.0] * 5
    assert times["fast"].turns.tolist() == [1.0] * 5
    assert times["slow"].runs == times["fast"].runs == 5
    assert times["slow"].median == 3


def test_models_take_turns_in_changing_order_and_warm_up_after_the_other(models):
    time_models(models[0], {"x": 1}, 3)
    first = ["slow", "fast"]
    assert models[1] == [*first, "slow", "slow", "fast", "fast", "fast", "slow", "slow", "slow", "fast", "fast"]


def test_no_turn_is_begun_after_the_time_is_up(models):
    times = time_models(models[0], {"x": 1}, 100, seconds=9)
    assert times["slow"].runs == times["fast"].runs == 3
    assert len(times["slow"].turns) == len(times["fast"].turns) == 1


def test_some_turns_are_made_however_long_they_take(models):
    times = time_models(models[0], {"x": 1}, None, seconds=0.001, least=5)
    assert len(times["slow"].turns) == 5
    assert times["slow"].runs == 15
    assert len(time_models(models[0], {"x": 1}, 2, seconds=0.001, least=5)["slow"].turns) == 2


def test_models_that_take_microseconds_run_many_times_a_turn(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    sessions = {name: Model(clock, name, 1e-5, []) for name in ("a", "b")}
    times = time_models(sessions, {"x": 1}, None, seconds=1)
    runs, turns = times["a"].runs, len(times["a"].turns)
    assert 490 <= runs / turns <= 510
    assert 80 <= turns <= 110
    assert time_models(sessions, {"x": 1}, 60)["a"].turns.shape == (20,)


def test_the_number_of_runs_is_kept_to_the_run(models):
    """Also where the last turn has fewer; those after the other model are not counted."""
    times = time_models(models[0], {"x": 1}, 47)
    assert times["slow"].runs == 47
    assert len(times["slow"].turns) == 24
    assert (models[1].count("slow"), models[1].count("fast")) == (1 + 47 + 13, 1 + 47 + 12)


def test_a_run_that_was_interrupted_moves_a_turn_little(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    steady, disturbed = Model(clock, "a", 0.004, []), Model(clock, "b", 0.004, [])
    run = disturbed.run

    def interrupted(feeds):
        run(feeds)
        clock.now += 5.0 if len(disturbed.order) % 3 == 0 else 0.0

    disturbed.run = interrupted
    times = time_models({"a": steady, "b": disturbed}, {"x": 1}, None, seconds=300)
    assert times["b"].median == pytest.approx(0.004)
    assert speedup(times["a"].turns, times["b"].turns)[0] == pytest.approx(1)


def test_a_machine_that_slows_down_for_a_while_slows_all_models_of_a_turn():
    load = np.repeat([1.0, 1.7, 3.0, 1.2], 25)
    first, second = 2 * load, load
    assert speedup(first, second) == (2, like_itself(2))


def test_a_median_and_its_interval():
    values = np.random.default_rng(1).normal(10, 1, 200)
    low, high = median_interval(values)
    assert low < np.median(values) < high
    assert 0.1 < high - low < 0.7
    assert median_interval(values) == (low, high)
    assert Timing(values, 200).median == np.median(values)


def test_the_speedup_is_the_median_of_the_ratios():
    first = np.array([2.0, 2.0, 2.0, 90.0, 2.0])
    ratio, (low, high) = speedup(first, np.ones(5))
    assert ratio == 2
    assert low <= 2 <= high


def test_steady_times_leave_what_sessions_of_one_model_differ_by():
    assert speedup(np.full(10, 3.0), np.full(10, 2.0)) == (1.5, like_itself(1.5))


def test_a_model_is_as_fast_as_itself_though_one_of_its_sessions_lies_better():
    """What was seen of a network of 30 microseconds: all turns agree, and are off by 0.9 %."""
    ratio, (low, high) = speedup(np.full(500, 1.0087), np.ones(500))
    assert ratio == pytest.approx(1.0087)
    assert low <= 1 <= high


def test_noise_widens_the_interval_and_the_seed_fixes_it():
    random = np.random.default_rng(0)
    first, second = random.uniform(1, 3, 50), random.uniform(1, 3, 50)
    ratio, (low, high) = speedup(first, second)
    assert low < ratio < high
    assert speedup(first, second) == (ratio, (low, high))
    assert len({speedup(first, second, seed)[1] for seed in range(5)}) > 1


def test_one_run_is_enough():
    assert speedup(np.array([2.0]), np.array([1.0])) == (2.0, like_itself(2.0))


class Parts:
    """A clock, and a `time_models` that takes its time on it; the second model varies by `noise`."""

    def __init__(self, noise):
        self.now, self.noise, self.sessions = 0.0, noise, []

    def perf_counter(self):
        return self.now

    def time_models(self, sessions, feeds, runs, seconds, least):
        self.now += seconds
        self.sessions += sessions.values()
        random = np.random.default_rng(len(self.sessions))
        return {"0": Timing(np.ones(20), 60), "1": Timing(1 + self.noise * random.uniform(-1, 1, 20), 60)}


@pytest.mark.parametrize(
    ("noise", "seconds", "parts"), [(0.001, None, 4), (0.5, None, 16), (0.5, 2.0, 4), (0.06, None, 11)]
)
def test_models_are_timed_longer_while_the_interval_is_wide(monkeypatch, noise, seconds, parts):
    fake = Parts(noise)
    for name, value in (
        ("time", fake),
        ("time_models", fake.time_models),
        ("_SECONDS", 3.0),
        ("_MOST_SECONDS", 12.0),
    ):
        monkeypatch.setattr(module, name, value)
    first, second = time_in_parts([net(), net()], {}, threads=1, seconds=seconds)
    assert first.runs == second.runs == 60 * parts
    assert fake.now == (seconds or 3) / 4 * parts
    low, high = median_interval(first.turns / second.turns)
    assert (high - low <= 0.02) == (noise < 0.1)
    assert len(set(map(id, fake.sessions))) == 2 * parts  # each part has sessions of its own


def test_a_number_of_runs_is_made_at_once():
    timings = time_in_parts([net(), net(), net()], {"x": smooth(1, 3, 6)}, threads=1, runs=4)
    assert [timing.runs for timing in timings] == [4, 4, 4]
