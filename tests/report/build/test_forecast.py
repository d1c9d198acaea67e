from onnxshallow.report.build import forecast as module
from onnxshallow.report.build.forecast import forecast_report
from onnxshallow.runtime.progress import Clock
from onnxshallow.search.forecast import Forecast


def test_what_was_foreseen_stands_beside_what_it_took(monkeypatch):
    monkeypatch.setattr(module, "most_memory_held", lambda: 300)
    clock = Clock({"load": 9.0, "forecast": 1.0, "fit": 2.5, "plan": 4.0, "train": 600.0})
    told = forecast_report(Forecast({"fit": 2.04, "plan": 3.0}, 200, {"plan": 7.0}), clock)
    assert (told.seconds, told.actual_seconds) == (5.0, 6.5)
    assert (told.memory_bytes, told.actual_memory_bytes) == (200, 300)
    assert told.stages == {"fit": 2.0, "plan": 3.0}


def test_the_search_for_masks_is_foreseen_where_it_came_to_that():
    clock = Clock()
    for _ in range(2):
        with clock("observe"):
            pass
    told = forecast_report(Forecast({"fit": 2.0, "plan": 3.0}, 200, {"plan": 7.0}), clock)
    assert told.stages == {"fit": 2.0, "plan": 10.0}
