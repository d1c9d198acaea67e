import time
from dataclasses import replace

import pytest

from onnxshallow.search import pace as module
from onnxshallow.search.pace import Pace, measured_pace


class Clock:
    """Stands in for the module `time`: each work takes what it is told, of which this thread computes a half."""

    def __init__(self, resolution=1e-9):
        self.now, self.resolution = 0.0, resolution

    def perf_counter(self):
        return self.now

    def thread_time(self):
        return self.now / 2

    def get_clock_info(self, name):
        return replace_namespace(self.resolution)


def replace_namespace(resolution):
    return type("Info", (), {"resolution": resolution})


def watch(monkeypatch, computing=True, resolution=1e-9):
    clock = Clock(resolution)
    monkeypatch.setattr(module, "time", clock)
    times = iter([4.0, 2.0, 8.0])

    def work():
        clock.now += next(times)

    made = module._Watch(computing)
    return made, made.quickest(work)


def test_the_time_that_one_thread_computes_counts(monkeypatch):
    made, seconds = watch(monkeypatch)
    assert seconds == 1.0
    assert made.busy == 2.0


@pytest.mark.parametrize("options", [{"computing": False}, {"resolution": 0.0156}])
def test_the_clock_counts_where_a_device_computes_and_where_ticks_are_long(monkeypatch, options):
    made, seconds = watch(monkeypatch, **options)
    assert seconds == 2.0
    assert made.busy == 1.0


def test_a_pace_is_above_zero(inputs):
    found = measured_pace(inputs)
    assert min(found.sample, found.flop, found.cell, found.batch, found.build) > 0
    assert found.busy >= 1


def test_more_threads_share_the_work_of_fits(inputs, monkeypatch):
    monkeypatch.setattr(module, "_of_flop", lambda watch: 8.0)
    one, four = (measured_pace(replace(inputs, calibration=replace(inputs.calibration, threads=n))) for n in (1, 4))
    assert (one.flop, four.flop) == (8.0, 2.0)


def test_models_of_a_fixed_batch_are_run_on_whole_batches(inputs, monkeypatch):
    seen = []
    session = type("Counting", (), {"run": lambda self, feeds: seen.append(len(feeds["x"])) or time.sleep(0)})
    monkeypatch.setattr(type(inputs), "fixed_batch", True)
    module._of_sample(inputs, session(), module._Watch(True))
    assert set(seen) == {len(inputs.calibration.batches[0]["x"])}


def test_a_machine_is_idle_unless_it_is_said_to_be_busy():
    assert Pace(1, 1, 1, 1, 1).busy == 1
