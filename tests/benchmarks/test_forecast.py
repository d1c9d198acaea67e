import json

import pytest

from benchmarks import forecast as module
from benchmarks.forecast import is_near, row
from onnxshallow.report.schema.sections import ForecastReport
from onnxshallow.workflows.optimize import optimize
from tests.networks import smooth
from tests.runs import save_case


def told(seconds=60.0, memory=2.0, taken=50.0, held=1.9):
    return ForecastReport(
        seconds=seconds,
        stages={"fit": seconds},
        memory_bytes=int(memory * 2**30),
        actual_seconds=taken,
        actual_memory_bytes=int(held * 2**30),
    )


@pytest.mark.parametrize(
    ("forecast", "near"),
    [
        (told(), True),
        (told(taken=39), False),
        (told(taken=91), False),
        (told(held=1.5), False),
        (told(held=3), False),
    ],
)
def test_a_forecast_is_near_in_both_directions(forecast, near):
    assert is_near(forecast, 1.5, 1.3) is near


def test_a_row_shows_both():
    assert row("net", told()) == "| net | 60 s | 50 s | 1.20 | 2.0 GiB | 1.9 GiB | 1.05 |"


def test_reports_are_read(tmp_path, capsys, monkeypatch):
    model, data = save_case(tmp_path, x=smooth(40, 3, 6))
    report = optimize(model, str(data), target_relus=0.7, sensitivity="magnitude", cache=None).report
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json())
    monkeypatch.setattr("sys.argv", ["forecast", str(path), "--time", "1e9", "--memory", "1e9"])
    module.main()
    assert "| net |" in capsys.readouterr().out
    path.write_text(json.dumps({**json.loads(report.model_dump_json()), "forecast": None}))
    with pytest.raises(SystemExit, match="has no forecast"):
        module.main()
