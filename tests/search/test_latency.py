"""Latency as a target: what is measured, and the limits whose plans are fast enough. The times are made up."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Silent
from onnxshallow.search import latency as latency_module
from onnxshallow.search.inputs import observe
from onnxshallow.search.latency import budget_for_latency, fast_enough, measured_speeds, unfitted
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import read_budget
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.timetable import Timetable
from onnxshallow.validation.latency import Timing
from tests.networks import build, smooth
from tests.runs import NET_WEIGHTS, load_case

PRELUS = """(float[N,3,8,8] x) => (float[N,6] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r0 = PRelu(h0, s)
    m0 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r0)
    h1 = Conv<pads=[1,1,1,1]>(m0, w1, b1)
    r1 = PRelu(h1, s)
    m1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
    h2 = Conv<pads=[1,1,1,1]>(m1, w2, b2)
    r2 = PRelu(h2, s)
    p = GlobalAveragePool(r2)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3, b3)
}"""
"""No two convolutions of it can be melted into one."""


def milliseconds(cost, relu=0.0):
    """As if a multiply-add took a microsecond, and an activation `relu`."""
    return cost.macs / 1000 + relu * cost.relus / 1000


@pytest.fixture
def limited(tmp_path, monkeypatch):
    """Find the budget for a latency target, where latency is a sum over multiply-adds and activations."""

    def find(target, model=None, relu=0.0, **options):
        inputs = load_case(tmp_path, model, target_latency=target, **options)
        tried = []

        def time_in_parts(models, feeds, threads, seconds, seed):
            costs = [analyze(each).cost for each in models]
            tried.append(costs[-1])
            return [Timing(np.full(20, milliseconds(cost, relu) / 1000), 60) for cost in costs]

        def seconds(table, network):
            return milliseconds(analyze(network).cost, relu) / 1000

        monkeypatch.setattr(latency_module, "time_in_parts", time_in_parts)
        monkeypatch.setattr(Timetable, "seconds", seconds)
        observation = observe(inputs, Silent())
        meter = DamageMeter(inputs, observation, Silent(), None)
        budget = budget_for_latency(inputs, observation, meter, read_budget(inputs.config, inputs.analysis))
        return inputs, budget, tried

    return find


def saved(inputs, budget, relu=0.0):
    """The share of the original's time that a budget asks to save."""
    return budget.time_saved / (milliseconds(inputs.analysis.cost, relu) / 1000)


def test_the_limit_on_time_follows_the_latency(limited):
    inputs, budget, tried = limited("0.7")
    assert saved(inputs, budget) >= 1 - 0.97 * 0.7 - 1e-9
    assert budget.relus is None
    assert budget.macs == inputs.analysis.cost.macs
    assert min(each.macs for each in tried) <= 0.97 * 0.7 * inputs.analysis.cost.macs


def test_where_activations_take_the_time_these_go(limited):
    """PRelus take ten times as long as the layers here, so that saving multiply-adds reaches nothing."""
    model = build(PRELUS, **NET_WEIGHTS, s=np.full((4, 1, 1), 0.25, np.float32))
    cost = analyze(model).cost
    assert (cost.relus, cost.relu_nodes) == (256 + 64 + 16, 3)
    relu = 10 * cost.macs / cost.relus
    inputs, budget, tried = limited("0.8", model, relu=relu, arrays={"x": smooth(40, 3, 8)})
    assert saved(inputs, budget, relu) >= 0.2
    assert any(each.relus <= 0.8 * cost.relus for each in tried)


def test_bisection_keeps_the_number_of_plans_that_are_timed_small(limited):
    _, _, tried = limited("0.6")
    assert len(tried) <= 1 + 8


def test_a_table_that_is_too_hopeful_is_made_up_for(limited, monkeypatch):
    """The first plan that the table takes for fast enough is no faster than the original, nor are those like it."""
    own, shares = latency_module._in_turns, []

    def slower(inputs, models, seconds):
        original, made = own(inputs, models, seconds)
        shares.append(made.median / original.median)
        return [original, original if len(shares) < 2 or shares[-1] >= shares[1] else made]

    monkeypatch.setattr(latency_module, "_in_turns", slower)
    inputs, budget, _ = limited("0.9")
    assert shares[1] <= 0.97 * 0.9
    assert min(shares) < shares[1]
    assert saved(inputs, budget) > 1 - 0.97 * 0.9 + 0.01


def test_what_is_fast_enough_already_is_not_limited(limited):
    inputs, budget, tried = limited("5000ms")
    assert budget.macs == inputs.analysis.cost.macs
    assert budget.time_saved is None
    assert len(tried) == 1


def test_a_count_that_was_asked_for_as_well_stays(limited):
    _, budget, _ = limited("0.7", target_relus=0.5)
    assert budget.relus <= 216


def test_a_latency_out_of_reach_is_an_error(limited):
    with pytest.raises(TargetError, match=r"The latency of 0\.001 cannot be reached: the fastest plan .* takes 0\."):
        limited("0.001")


def test_without_a_target_the_budget_stays(tmp_path):
    inputs = load_case(tmp_path, target_relus=0.5)
    budget = read_budget(inputs.config, inputs.analysis)
    assert budget_for_latency(inputs, None, None, budget) is budget


@pytest.mark.parametrize(("target", "kept"), [("0.8", [True, False, False]), ("0.77ms", [True, False, False])])
def test_a_plan_is_fast_enough_with_some_room(tmp_path, target, kept):
    inputs = load_case(tmp_path, target_latency=target)
    timings = [Timing(np.full(20, seconds), 60) for seconds in (1e-3, 0.7e-3, 0.79e-3, 0.9e-3)]
    assert fast_enough(inputs, timings) == kept


def test_a_plan_is_compared_turn_by_turn(tmp_path):
    """Something else took half of the machine in the first turns, in two of them while the plan ran alone."""
    inputs = load_case(tmp_path, target_latency="0.8")
    original, made = np.full(20, 1e-3), np.full(20, 0.7e-3)
    original[:9] *= 2
    made[:11] *= 2
    assert np.median(made) > np.median(original)
    assert fast_enough(inputs, [Timing(original, 60), Timing(made, 60)]) == [True]


def test_without_a_target_every_plan_is_fast_enough(inputs):
    assert fast_enough(inputs, [Timing(np.ones(20), 60)] * 3) == [True, True]


def test_a_plan_can_be_written_without_being_fitted(inputs, observation, measured):
    chosen = next(c for c in measured.candidates if c.key.startswith("fuse:3x3"))
    cost = analyze(unfitted(inputs, observation, Plan((chosen,), {}))).cost
    assert (cost.relus, cost.macs) == (
        inputs.analysis.cost.relus - chosen.relus,
        inputs.analysis.cost.macs - chosen.macs,
    )


def test_models_are_measured_beside_the_original(inputs):
    first, second = measured_speeds(inputs, [inputs.document.model] * 2)
    assert first.original_ms == second.original_ms > 0
    assert (first.batch_size, first.threads) == (1, None)
    assert first.runs == second.runs > 0
