import time

import pytest

from onnxshallow.report.terminal.console import keeping_quiet
from onnxshallow.report.terminal.progress import Bars, as_progress
from onnxshallow.runtime.progress import Silent


def wait_for(capsys, text):
    """What is on stderr once `text` is there; bounded, as what hangs has to end."""
    heard, end = "", time.monotonic() + 1200
    while text not in heard and time.monotonic() < end:
        heard += capsys.readouterr().err
        time.sleep(0.001)
    return heard


def test_lines_say_how_far_a_stage_is_where_there_is_no_terminal(capsys):
    with Bars(every=0.0).stage("Measuring sensitivity", 4) as step:
        assert "Measuring sensitivity: 0 of 4, 0 s so far\n" in wait_for(capsys, "0 of 4")
        step()
        line = next(line for line in wait_for(capsys, "1 of 4").splitlines() if "1 of 4" in line)
        assert line.startswith("Measuring sensitivity: 1 of 4, ")
        assert line.endswith("left")


def test_a_step_that_takes_long_is_told_of_as_well(capsys):
    with Bars(every=0.01).stage("Comparing plans", 2):
        assert wait_for(capsys, "of 2").count("Comparing plans: 0 of 2") >= 1


def test_of_stages_within_others_the_innermost_speaks(capsys):
    bars = Bars(every=0.0)
    with bars.stage("Comparing the best", 1):
        wait_for(capsys, "Comparing the best")
        with bars.stage("Comparing plans", 8):
            assert "Comparing plans: 0 of 8" in wait_for(capsys, "Comparing plans")
        assert "Comparing the best: 0 of 1" in wait_for(capsys, "Comparing the best")


def test_short_stages_are_not_told_of(capsys):
    bars = Bars()
    for _ in range(3):
        with bars.stage("Working", 1) as step:
            step()
    assert capsys.readouterr().err == ""


def test_lines_go_to_stderr_alone(capsys):
    with Bars(every=0.0).stage("Working", 2):
        deadline = time.monotonic() + 1200
        while not (heard := capsys.readouterr()).err and time.monotonic() < deadline:
            time.sleep(0.001)
    assert heard.out == ""


def test_a_quiet_command_says_nothing(capsys):
    with keeping_quiet(), Bars(every=0.0).stage("Working", 2) as step:
        step()
        time.sleep(0.01)
    assert capsys.readouterr().err == ""


def test_an_error_ends_the_lines_and_goes_on():
    bars = Bars(every=0.0)

    def fails():
        with bars.stage("Working", 2):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_progress_is_asked_for_by_true():
    assert isinstance(as_progress(True), Bars)
    assert isinstance(as_progress(None), Silent)
    assert isinstance(as_progress(False), Silent)
    own = Silent()
    assert as_progress(own) is own
