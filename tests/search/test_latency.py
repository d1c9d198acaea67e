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
from onnxshallow.validation.latency import Timing
from tests.networks import build
from tests.runs import NET, NET_WEIGHTS, load_case

PRELUS = (
    NET.replace("Relu(h0)", "PRelu(h0, s)").replace("Relu(h1)", "PRelu(h1, s)").replace("Relu(h2)", "PRelu(h2, s)")
)


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

        monkeypatch.setattr(latency_module, "time_in_parts", time_in_parts)
        observation = observe(inputs, Silent())
        meter = DamageMeter(inputs, observation, Silent(), None)
        budget = budget_for_latency(inputs, observation, meter, read_budget(inputs.config, inputs.analysis))
        return inputs, budget, tried

    return find


def test_the_limit_on_multiply_adds_follows_the_latency(limited):
    inputs, budget, tried = limited("0.7")
    cost = inputs.analysis.cost
    assert budget.macs <= 0.7 * cost.macs
    assert budget.relus is None
    assert any(each.macs <= 0.97 * 0.7 * cost.macs for each in tried)


def test_where_activations_take_the_time_these_are_limited(limited):
    """PRelus take as long as the layers here; no plan that saves multiply-adds alone is asked for."""
    model = build(PRELUS, **NET_WEIGHTS, s=np.full((4, 1, 1), 0.25, np.float32))
    cost = analyze(model).cost
    inputs, budget, tried = limited("0.8", model, relu=cost.macs / cost.relus)
    assert budget.relus is not None
    assert budget.macs == inputs.analysis.cost.macs
    assert any(each.macs == cost.macs and each.relus < cost.relus for each in tried)


def test_bisection_keeps_the_number_of_plans_that_are_timed_small(limited):
    _, _, tried = limited("0.6")
    assert len(tried) <= 1 + 3 * 5


def test_what_is_fast_enough_already_is_not_limited(limited):
    inputs, budget, tried = limited("5000ms")
    assert budget.macs == inputs.analysis.cost.macs
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
