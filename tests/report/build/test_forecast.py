from onnxshallow.report.build import forecast as module
from onnxshallow.report.build.forecast import forecast_report
from onnxshallow.search.forecast import Forecast


def test_what_was_foreseen_stands_beside_what_it_took(monkeypatch):
    monkeypatch.setattr(module, "most_memory_held", lambda: 300)
    timings = {"load": 9.0, "forecast": 1.0, "fit": 2.5, "plan": 4.0, "train": 600.0}
    told = forecast_report(Forecast({"fit": 2.04, "plan": 3.0}, 200), timings)
    assert (told.seconds, told.actual_seconds) == (5.0, 6.5)
    assert (told.memory_bytes, told.actual_memory_bytes) == (200, 300)
    assert told.stages == {"fit": 2.0, "plan": 3.0}
