from dataclasses import replace

from onnxshallow.report.schema.figures import compared, count, lost, number
from tests.report.pages import REPORT
from tests.runs import speed_of


def test_numbers_are_in_groups_and_nothing_is_a_dash():
    assert (count(1234567), count(None)) == ("1 234 567", "?")
    assert (number(0.12345), number(2, 1), number(None)) == ("0.1235", "2.0", "-")


def test_figures_stand_side_by_side():
    before = REPORT.original
    rows = compared(before, replace(before, relus=5, latency_ms=1.0), speed_of(2.0, 1.0))
    assert ("ReLUs", "10", "5", "0.500") in rows
    assert ("times as fast", "1", "2.000", "2.00 to 2.00") in rows
    assert not {"squares", "bytes", "latency, ms", "top-1, %"} & {row[0] for row in rows}


def test_accuracy_that_is_not_known_is_not_lost():
    assert lost(REPORT.verdict) == ""
    known = REPORT.verdict.model_copy(update={"accuracy_lost": 0.01, "accuracy_lost_interval": (0.0, 0.02)})
    assert lost(known).startswith("Accuracy lost: 1.00 points (95 % interval 0.00 to 2.00;")
