import itertools
import math
from dataclasses import replace

import pytest

from onnxshallow.analysis import NotLinearError
from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Silent
from onnxshallow.search import compete as compete_module
from onnxshallow.search import tries as tries_module
from onnxshallow.search.compete import LookedAt, search
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import about_equal
from onnxshallow.search.solver import Budget
from onnxshallow.search.tries import tries_together


def test_plans_are_tried_out_and_measured(inputs, observation, measured):
    cost = inputs.analysis.cost
    (plans,) = search(inputs, observation, [measured], [Budget(cost.relus // 2, cost.macs)], Silent(), 8)
    assert len({frozenset(c.key for c in plan.candidates) for plan in plans}) == len(plans) > 1
    assert all(plan.damage is not None and plan.damage >= 0 for plan in plans)
    assert all(sum(c.relus for c in plan.candidates) >= cost.relus / 2 for plan in plans)


def test_a_budget_out_of_reach_is_an_error(inputs, observation, measured):
    (error,) = search(inputs, observation, [measured], [Budget(1)], Silent(), 8)
    assert isinstance(error, TargetError)


def test_a_plan_that_cannot_be_carried_out_is_left_out(monkeypatch, caplog, inputs, observation, measured):
    seen = []

    def failing(analysis, candidates, *rest, preview=compete_module.previewed, **options):
        seen.append(frozenset(c.key for c in candidates))
        if len(seen) == 1:
            raise NotLinearError("it cannot be carried out.")
        return preview(analysis, candidates, *rest, **options)

    monkeypatch.setattr(compete_module, "previewed", failing)
    cost = inputs.analysis.cost
    (plans,) = search(inputs, observation, [measured], [Budget(cost.relus // 2, cost.macs)], Silent(), 3)
    assert [plan.keys for plan in plans] == seen[3:]
    assert {plan.keys for plan in plans} == set(seen[1:3])
    assert "A plan is left out: it cannot be carried out." in caplog.text


def test_with_several_workers_the_same_plans_are_found_though_more_are_tried(
    monkeypatch, inputs, observation, measured
):
    cost = inputs.analysis.cost
    budgets = [Budget(int(share * cost.relus), cost.macs) for share in (0.7, 0.5)]
    rounds = []

    def run_all(work, shared, plans):
        rounds.append([(shared.calibration is inputs.rough, plan.keys) for plan in plans])
        return (work(shared, plan) for plan in plans)

    monkeypatch.setattr(compete_module, "run_all", run_all)
    found, needed = {}, {}
    for count in (1, 3):
        rounds.clear()
        monkeypatch.setattr(compete_module, "worker_count", lambda count=count: count)
        results = search(inputs, observation, [measured] * 2, budgets, Silent(), 8)
        found[count] = [[(plan.keys, plan.damage) for plan in plans] for plans in results]
        tried = [keys for each in rounds for keys in each]
        assert len(tried) == len(set(tried))
        assert max(map(len, rounds)) == count
        needed[count] = len(rounds)
    assert found[1] == found[3]
    assert needed[3] < needed[1]


def searched(monkeypatch, case, values, measure="kl", tries=24):
    """What is looked at roughly where damages turn out to be `values`, and the last of these from then on."""
    inputs, observation, measured = case
    inputs = replace(inputs, config=inputs.config.model_copy(update={"sensitivity": measure}))
    endless = itertools.chain(values, itertools.repeat(values[-1]))
    looked_at = []

    def tried(bench, plan):
        if bench.calibration is inputs.rough:
            looked_at.append(plan)
        return next(endless)

    monkeypatch.setattr(compete_module, "_try_out", tried)
    cost = inputs.analysis.cost
    budget = Budget(int(0.7 * cost.relus), 2 * cost.macs)
    search(inputs, observation, [measured], [budget], Silent(), tries)
    return looked_at


@pytest.fixture
def case(inputs, observation, measured):
    """A network with its measurements."""
    return inputs, observation, measured


def test_the_search_ends_where_no_output_moves(monkeypatch, case):
    assert len(searched(monkeypatch, case, [0.0])) == 1
    assert len(searched(monkeypatch, case, [0.2, 0.0])) == 2
    assert len(searched(monkeypatch, case, [0.0], "mse")) == 1


def test_outputs_may_move_where_no_class_does(monkeypatch, case):
    assert len(searched(monkeypatch, case, [0.0], "disagreement", tries=5)) == 5


def test_plans_found_elsewhere_compete_as_well(case):
    inputs, observation, measured = case
    cost = inputs.analysis.cost
    budget = Budget(int(0.7 * cost.relus), cost.macs)
    other = Plan(tuple(c for c in measured.candidates if c.key == "linearize:h1->r1"), measured.damages)
    (plans,) = search(inputs, observation, [measured], [budget], Silent(), 3, [other])
    assert plans[0].keys == other.keys
    assert plans[0].damage is not None
    assert len({plan.keys for plan in plans}) == len(plans) == 3  # it is not proposed again


def test_plans_found_elsewhere_do_not_count_where_they_miss_the_budget(case):
    inputs, observation, measured = case
    (plans,) = search(inputs, observation, [measured], [Budget(144)], Silent(), 3, [Plan((), {})])
    assert all(plan.candidates for plan in plans)


# What was looked at before.


@pytest.fixture
def cached(monkeypatch, case, tmp_path):
    """Searches with a folder for what is known; returns the plans, and how many were carried out for them."""
    inputs, observation, measured = case
    cost, carried_out, try_out = inputs.analysis.cost, [], compete_module._try_out

    def searched(tries, until=None):
        def counted(bench, plan):
            if len(carried_out) == until:
                raise KeyboardInterrupt
            carried_out.append(plan)
            return try_out(bench, plan)

        monkeypatch.setattr(compete_module, "_try_out", counted)
        carried_out.clear()
        budget, looked = Budget(cost.relus // 2, cost.macs), LookedAt.of(inputs, tmp_path)
        (plans,) = search(inputs, observation, [measured], [budget], Silent(), tries, looked=looked)
        return [(plan.keys, plan.damage) for plan in plans], len(carried_out)

    return searched


def test_an_interrupted_search_goes_on_with_the_next_plan(cached):
    with pytest.raises(KeyboardInterrupt):
        cached(5, until=3)
    resumed, left = cached(5)
    assert left == 4  # two of five in a rough look, two in a closer one
    assert cached(5) == (resumed, 0)


def test_what_is_remembered_is_what_a_search_finds_anew(cached, tmp_path):
    anew, carried_out = cached(4)
    assert carried_out == 6  # four in a rough look, two in a closer one
    assert cached(4) == (anew, 0)


def test_a_plan_that_was_refused_is_refused_again(monkeypatch, case, tmp_path):
    inputs, observation, measured = case
    budget = Budget(inputs.analysis.cost.relus // 2, inputs.analysis.cost.macs)
    found = []
    for values in ([math.nan, 0.5, 0.5], []):
        monkeypatch.setattr(compete_module, "_try_out", lambda bench, plan, values=values: values.pop(0))
        (plans,) = search(
            inputs, observation, [measured], [budget], Silent(), 2, looked=LookedAt.of(inputs, tmp_path)
        )
        found.append([plan.keys for plan in plans])
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_fewer_of_few_plans_are_compared_closely(monkeypatch, case):
    inputs, observation, measured = case
    cost, carried_out = inputs.analysis.cost, []
    monkeypatch.setattr(compete_module, "_try_out", lambda bench, plan: carried_out.append(bench.calibration) or 0.5)
    search(inputs, observation, [measured], [Budget(int(0.7 * cost.relus), 2 * cost.macs)], Silent(), 12)
    assert sum(calibration is inputs.reduced for calibration in carried_out) == 4


def test_a_single_plan_is_taken_as_it_is(case):
    inputs, observation, measured = case
    budget = Budget(inputs.analysis.cost.relus // 2, inputs.analysis.cost.macs)
    ((plan,),) = search(inputs, observation, [measured], [budget], Silent(), 1)
    assert plan.damage is None


# One plan for each of several budgets.


def test_several_budgets_are_searched_no_further_once_a_plan_for_each_moves_no_output(monkeypatch, case):
    inputs, observation, measured = case
    tried = []
    monkeypatch.setattr(compete_module, "_try_out", lambda bench, plan: tried.append(plan) or 0.0)
    together(inputs, observation, measured, 0.7, 0.4)
    assert len({plan.keys for plan in tried}) == 2


def together(inputs, observation, measured, *shares):
    """Plans for shares of the ReLUs, and their budgets."""
    cost = inputs.analysis.cost
    budgets = [Budget(int(share * cost.relus), cost.macs) for share in shares]
    tries = tries_together(inputs, len(budgets))
    found = search(inputs, observation, [measured] * len(budgets), budgets, Silent(), tries)
    kept = [plans if isinstance(plans, TargetError) else about_equal(plans, cost, Budget())[0] for plans in found]
    return kept, budgets


def test_every_budget_gets_a_plan_that_reaches_it_and_was_measured(inputs, observation, measured):
    plans, budgets = together(inputs, observation, measured, 0.7, 0.4)
    for plan, budget in zip(plans, budgets, strict=True):
        assert inputs.analysis.cost.relus - sum(c.relus for c in plan.candidates) <= budget.relus
        assert plan.damage is not None
        assert plan.damage >= 0


def test_a_budget_out_of_reach_has_an_error_in_its_place_and_the_others_their_plans(inputs, observation, measured):
    (first, error, last), _ = together(inputs, observation, measured, 0.7, 0.01, 0.4)
    assert isinstance(error, TargetError)
    assert "cannot be reached" in str(error)
    expected, _ = together(inputs, observation, measured, 0.7, 0.4)
    assert [first.keys, last.keys] == [plan.keys for plan in expected]


def test_no_plan_is_carried_out_twice_on_the_same_samples(inputs, observation, measured, monkeypatch):
    carried_out, previewed = [], compete_module.previewed

    def counting(analysis, candidates, statistics, calibration, *rest, **options):
        carried_out.append((frozenset(c.key for c in candidates), calibration.fit))
        return previewed(analysis, candidates, statistics, calibration, *rest, **options)

    monkeypatch.setattr(compete_module, "previewed", counting)
    plans, _ = together(inputs, observation, measured, 0.7, 0.69, 0.4)
    assert len(carried_out) == len(set(carried_out)) > 3
    assert {(plan.keys, inputs.reduced.fit) for plan in plans} <= set(carried_out)


def test_a_plan_that_was_carried_out_for_a_harder_budget_is_taken_where_it_does_less(
    inputs, observation, measured, monkeypatch
):
    monkeypatch.setattr(compete_module, "damage", lambda measure, reference, outputs, kinds: next(values))
    monkeypatch.setattr(tries_module, "_affordable_tries", lambda inputs: 2)
    values = itertools.chain([0.5, 0.1, 0.9, 0.1], itertools.repeat(0.9))
    (first, last), _ = together(inputs, observation, measured, 0.7, 0.4)
    assert first == last
    assert first.damage == 0.1


def test_a_budget_whose_only_plan_was_carried_out_for_another_takes_it(inputs, observation, measured):
    (most,) = (c for c in measured.candidates if c.key == "linearize:h0->r0")
    only = replace(measured, candidates=(most,))
    plans, _ = together(inputs, observation, only, 0.7, 0.69)
    assert [plan.candidates for plan in plans] == [(most,), (most,)]
