from dataclasses import replace

import pytest

from onnxshallow.runtime.store import memory_in_use
from onnxshallow.search import forecast as module
from onnxshallow.search.candidates import possible_candidates
from onnxshallow.search.forecast import Forecast, Work, count_samples, forecast, work_of
from onnxshallow.search.memory import bytes_of_sample
from onnxshallow.search.pace import Pace
from onnxshallow.search.watched import Watching
from tests.networks import smooth
from tests.runs import load_case

NOTHING = Pace(0, 0, 0, 0, 0)


def with_options(inputs, **options):
    return replace(inputs, config=inputs.config.model_copy(update=options))


def test_work_adds_up():
    one = Work(1, 2, 3, 4, 5)
    assert one.times(2).plus(one) == Work(3, 6, 9, 12, 15)


def test_stages_have_the_names_of_the_report(inputs):
    assert set(forecast(with_options(inputs, target_relus=0.7), NOTHING).stages) == {
        "observe", "sensitivity", "plan", "fit", "validate", "latency",
    }  # fmt: skip


def test_every_stage_takes_longer_on_a_slower_machine(inputs):
    asked = with_options(inputs, target_relus=0.7)
    slow, fast = (forecast(asked, Pace(*(5 * (speed,)))).stages for speed in (2.0, 1.0))
    for stage in set(fast) - {"latency"}:
        assert slow[stage] == pytest.approx(2 * fast[stage])
    assert slow["latency"] == fast["latency"]


def test_everything_takes_longer_while_the_machine_is_busy(inputs):
    asked = with_options(inputs, target_relus=0.7)
    idle, busy = (forecast(asked, Pace(1, 1, 1, 1, 1, busy)) for busy in (1.0, 3.0))
    assert busy.stages["plan"] == pytest.approx(3 * idle.stages["plan"])


def test_fewer_plans_are_less_work(inputs):
    asked = with_options(inputs, target_relus=0.7)
    many, few, one = (work_of(replace(asked, most_plans=plans))["plan"] for plans in (None, 3, 1))
    assert many.samples > few.samples > one.samples == 0


def test_squares_are_looked_at_on_many_samples_and_fitted_to_some_of_them(inputs):
    plain, squares = (work_of(with_options(inputs, target_relus=0.7, polynomials=asked)) for asked in (False, True))
    assert squares["observe"].samples > plain["observe"].samples + len(inputs.data.pool)
    assert squares["plan"].samples / squares["plan"].builds > plain["plan"].samples / plain["plan"].builds
    assert squares["fit"].samples > 2 * (plain["fit"].samples + len(inputs.data.pool))
    assert squares["validate"] == plain["validate"]


def test_damages_that_are_read_off_the_weights_take_no_time(inputs):
    work = work_of(with_options(inputs, target_relus=0.7, sensitivity="magnitude"))
    assert work["sensitivity"] == work["plan"] == Work()


def test_an_accuracy_budget_alone_tries_several_targets(inputs):
    one = work_of(with_options(inputs, target_relus=0.7))
    several = work_of(with_options(inputs, max_drop=0.01))
    assert several["fit"].samples == 5 * one["fit"].samples


def test_a_frontier_carries_out_a_model_for_each_target_and_shares_the_plans(inputs):
    one, three = (work_of(inputs, targets) for targets in (1, 3))
    assert three["fit"] == one["fit"].times(3)
    assert three["sensitivity"] == one["sensitivity"]
    assert one["plan"].samples < three["plan"].samples <= 3 * one["plan"].samples


def test_memory_knows_of_the_samples_that_squares_add(tmp_path, monkeypatch):
    inputs = load_case(tmp_path, arrays={"x": smooth(300, 3, 6)}, calib_samples=200, target_relus=0.5)
    squared = with_options(inputs, polynomials=True)
    monkeypatch.setattr("onnxshallow.search.forecast.memory_in_use", lambda: 0)
    first, second = (forecast(each, NOTHING).memory_bytes for each in (inputs, squared))
    assert second - first >= Watching.of(squared).watched * bytes_of_sample(inputs.analysis) // 2 > 0


def test_memory_is_what_is_held_and_more(inputs):
    expected = forecast(with_options(inputs, target_relus=0.7), NOTHING)
    assert memory_in_use() / 2 < expected.memory_bytes < memory_in_use() + (1 << 30)


def test_a_forecast_is_one_sentence():
    assert Forecast({"fit": 700.0, "plan": 110.0}, 3 << 29).in_short() == (
        "This will take about 14 min and 1.5 GiB of memory."
    )


def test_what_masks_would_take_is_told_beside_and_is_but_their_search():
    one = Forecast({"observe": 1.0, "sensitivity": 2.0, "plan": 57.0, "fit": 9.0}, 1 << 30)
    told = one.with_masks(one)
    assert told.in_short().endswith("channel masks are looked at, too, which takes 60 s more.")
    assert told.seconds == one.seconds
    assert told.twice.stages == {"observe": 2.0, "sensitivity": 4.0, "plan": 114.0, "fit": 9.0}


def test_no_more_plans_are_foreseen_than_there_can_be(inputs, monkeypatch):
    asked = with_options(inputs, target_relus=0.7)
    single = possible_candidates(asked)[0][:1]
    monkeypatch.setattr(module, "possible_candidates", lambda inputs: (single, {}))
    assert work_of(asked)["plan"] == Work()


def test_small_batches_take_their_time(inputs):
    asked = with_options(inputs, target_relus=0.7)
    batches = [{"x": batch["x"][start : start + 1]} for batch in inputs.calibration.batches for start in range(8)]
    single = replace(asked, calibration=replace(asked.calibration, batches=batches))
    few, many = (forecast(one, Pace(0, 0, 0, 1, 0)).stages["observe"] for one in (asked, single))
    assert many > 2 * few


def test_a_wide_layer_in_place_of_thin_ones_takes_longer_to_fit(inputs):
    candidates, _ = possible_candidates(inputs)
    merger = next(c for c in candidates if c.layers == 1)
    wide = replace(merger, macs=merger.macs - 100 * inputs.analysis.cost.macs)
    few, many = (module._merged(inputs.analysis, c, 64, inputs.swept).flops for c in (merger, wide))
    assert many > 100 * few > 0


def test_samples_are_counted(inputs):
    batches = inputs.calibration.batches
    assert count_samples(batches) == sum(len(batch["x"]) for batch in batches)
