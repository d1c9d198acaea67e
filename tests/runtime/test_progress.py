import pytest

from onnxshallow.runtime import progress as module
from onnxshallow.runtime.progress import Clock, Silent, counted


def test_items_pass_through_and_are_counted():
    steps = []
    seen = [(item, len(steps)) for item in counted("abc", lambda: steps.append(None))]
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert len(steps) == 3


def test_counting_is_lazy():
    def endless():
        while True:
            yield 1

    assert next(iter(counted(endless(), lambda: None))) == 1


def test_silence(capsys):
    with Silent().stage("Working", 3) as step:
        step()
    Silent().note("so far")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


# Seconds by stage.


class Time:
    """Stands in for the module `time`; passes as it is told to."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def time(monkeypatch):
    stopped = Time()
    monkeypatch.setattr(module, "time", stopped)
    return stopped


def test_each_stage_is_timed(time):
    clock = Clock()
    for name, seconds in (("load", 2.0), ("fit", 0.5)):
        with clock(name):
            time.now += seconds
    time.now += 10
    assert clock.seconds == {"load": 2.0, "fit": 0.5}


def test_stages_of_one_name_add_up(time):
    clock = Clock()
    for seconds in (2.0, 0.5, 0.0):
        with clock("fit"):
            time.now += seconds
    assert clock.seconds == {"fit": 2.5}
    assert clock.begun["fit"] == 3


def test_a_stage_that_fails_is_timed_and_its_error_goes_on(time):
    clock = Clock()

    @clock("fit")
    def fails():
        time.now += 2.0
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert clock.seconds == {"fit": 2.0}


def test_a_stage_inside_another_counts_in_both(time):
    clock = Clock()
    with clock("whole"):
        time.now += 1.0
        with clock("part"):
            time.now += 2.0
    assert clock.seconds == {"whole": 3.0, "part": 2.0}


def test_milliseconds_are_exact_enough(time):
    clock = Clock()
    with clock("fit"):
        time.now += 1.23456
    assert clock.seconds == {"fit": 1.235}


def test_no_two_clocks_share_their_stages(time):
    with Clock()("load"):
        time.now += 1.0
    assert Clock().seconds == {}
