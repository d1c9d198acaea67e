import logging
from dataclasses import replace

import pytest

from onnxshallow.runtime.progress import Silent
from onnxshallow.search import time_budget as module
from onnxshallow.search.forecast import Forecast, count_samples, forecast
from onnxshallow.search.pace import Pace
from onnxshallow.search.time_budget import foreseen, has_time, within_time
from onnxshallow.search.tries import tries_alone, tries_together

SLOW = Pace(0.1, 0, 0, 0, 0.1)


@pytest.fixture
def asked(inputs):
    return replace(inputs, config=inputs.config.model_copy(update={"target_relus": 0.7, "time_budget": "1m"}))


def test_inputs_stay_as_they_are_where_there_is_time(asked):
    assert within_time(asked, SLOW, 1e9) is asked


def test_less_time_means_fewer_plans_and_samples(asked):
    whole = forecast(asked, SLOW).seconds
    some, few = (within_time(asked, SLOW, share * whole) for share in (0.8, 0.4))
    assert forecast(some, SLOW).seconds <= 0.8 * whole
    assert forecast(few, SLOW).seconds <= 0.4 * whole
    assert tries_alone(few) <= tries_alone(some) <= tries_alone(asked)
    counts = [count_samples(each.reduced.batches) for each in (asked, some, few)]
    assert counts == sorted(counts, reverse=True)
    assert count_samples(few.calibration.batches) < count_samples(asked.calibration.batches)


def test_a_frontier_is_thinned_out_for_all_its_targets(asked):
    whole = forecast(asked, SLOW, 3).seconds
    few = within_time(asked, SLOW, 0.5 * whole, 3)
    assert forecast(few, SLOW, 3).seconds <= 0.5 * whole
    assert tries_together(few, 3) < tries_together(asked, 3)


def test_what_is_validated_stays(asked):
    assert within_time(asked, SLOW, 0.0).data is asked.data


def test_each_part_keeps_a_sample(asked):
    least = within_time(asked, SLOW, 0.0)
    for calibration in (least.calibration, least.reduced, least.rough, least.swept):
        assert count_samples(calibration.batches[calibration.fitting]) >= 1
        assert count_samples(calibration.batches[calibration.selection]) >= 1


def test_whole_batches_stay_where_the_model_fixes_them(asked, monkeypatch):
    monkeypatch.setattr(type(asked), "fixed_batch", True)
    size = len(asked.calibration.batches[0]["x"])
    least = within_time(asked, SLOW, 0.0)
    assert {len(batch["x"]) for batch in least.reduced.batches[: least.reduced.fit_batches]} == {size}


def test_a_time_that_cannot_be_kept_is_told(asked, caplog):
    with caplog.at_level(logging.WARNING):
        within_time(asked, SLOW, 0.0)
    assert "--time-budget 1m: with the fewest samples and plans this takes about" in caplog.text


class Heard(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize(("seconds", "notes"), [(5.0, 0), (300.0, 1)])
def test_long_runs_are_told_of_before_they_begin(asked, monkeypatch, seconds, notes):
    monkeypatch.setattr(module, "_WORTH_TELLING", 20.0)
    monkeypatch.setattr(module, "measured_pace", lambda inputs: SLOW)
    monkeypatch.setattr(module, "forecast", lambda inputs, pace, targets: Forecast({"fit": seconds}, 1 << 30))
    progress = Heard()
    same, expected = foreseen(replace(asked, config=asked.config.model_copy(update={"time_budget": None})), progress)
    assert (len(progress.notes), expected.seconds) == (notes, seconds)
    assert same.most_plans is None


@pytest.mark.parametrize(("granularity", "told"), [("auto", True), ("layer", False)])
def test_what_channel_masks_would_take_is_told_where_they_may_be_looked_at(asked, monkeypatch, granularity, told):
    monkeypatch.setattr(module, "_WORTH_TELLING", 0.0)
    monkeypatch.setattr(module, "measured_pace", lambda inputs: SLOW)
    progress = Heard()
    update = {"time_budget": None, "granularity": granularity}
    foreseen(replace(asked, config=asked.config.model_copy(update=update)), progress)
    (note,) = progress.notes
    assert ("Where whole layers miss the target, channel masks are looked at, too" in note) is told


@pytest.mark.parametrize(("spent", "left"), [(0.0, True), (59.0, False)])
def test_there_is_time_for_a_further_search_or_not(asked, monkeypatch, caplog, spent, left):
    monkeypatch.setattr(module, "measured_pace", lambda inputs: SLOW)
    monkeypatch.setattr(module, "forecast", lambda inputs, pace, targets: Forecast({"fit": 10.0}, 1 << 30))
    with caplog.at_level(logging.WARNING):
        assert has_time(asked, spent) is left
    assert ("channel masks, which might do less damage, are not looked at" in caplog.text) is not left


def test_without_a_limit_there_is_time(asked):
    assert has_time(replace(asked, config=asked.config.model_copy(update={"time_budget": None})), 1e9)
