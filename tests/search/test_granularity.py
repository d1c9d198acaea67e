"""Channel masks where whole layers miss what was asked for, and none where they bring nothing."""

from dataclasses import replace

import pytest

from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search import choose as choose_module
from onnxshallow.search import compete as compete_module
from onnxshallow.search import planner as planner_module
from onnxshallow.search.choose import choose
from onnxshallow.search.granularity import fine_enough, loses_much, misses, proposed, ranked, remark
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.search.solver import Budget
from onnxshallow.search.tries import tries_alone, tries_together
from tests.networks import smooth
from tests.runs import load_case

# Three sites of 144 activations each: whole layers keep all of them, two thirds or one third.


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Begin a run on that network with some options; no damage is small enough to count as none."""
    monkeypatch.setattr(planner_module, "_HARMLESS", {})

    def begin(**options):
        inputs = fine_enough(load_case(tmp_path, arrays={"x": smooth(96, 3, 6)}, **options))
        return Run.begin(inputs, Silent(), Clock())

    return begin


def relus(plan):
    return 432 - sum(c.relus for c in plan.candidates)


def parts(plan):
    return [c for c in plan.candidates if not c.whole]


def found_for(run):
    (found,) = ranked(run, [run.inputs.budget], tries_alone)
    return found


@pytest.mark.parametrize(("allowed", "missed"), [(288, False), (320, False), (321, True), (431, True)])
def test_a_plan_misses_what_it_undercuts_by_more_than_a_tenth(inputs, measured, allowed, missed):
    single = next(c for c in measured.candidates if c.key == "linearize:h1->r1")
    assert relus(Plan((single,), {})) == 288
    assert misses(Plan((single,), {}, 0.1), inputs.analysis.cost, Budget(allowed)) is missed


def test_a_plan_that_does_no_damage_misses_nothing(inputs, measured):
    single = next(c for c in measured.candidates if c.key == "linearize:h1->r1")
    assert not misses(Plan((single,), {}, 0.001), inputs.analysis.cost, Budget(400, harmless=0.002))
    assert not misses(Plan((single,), {}, 0.1), inputs.analysis.cost, Budget(None, 1000))


@pytest.mark.parametrize(
    ("damage", "options", "budget", "much"),
    [
        (0.11, {"polynomials": True}, Budget(300, harmless=0.004), True),
        (0.09, {"polynomials": True}, Budget(300, harmless=0.004), False),
        (0.11, {}, Budget(300, harmless=0.004), False),
        (0.11, {"polynomials": True}, Budget(None, 1000, harmless=0.004), False),
    ],
)
def test_whole_layers_lose_much_where_squares_might_do_with_less(inputs, damage, options, budget, much):
    config = inputs.config.model_copy(update=options)
    assert loses_much(Plan((), {}, damage), config, budget) is much


@pytest.mark.parametrize(("in_part", "taken"), [(0.2, True), (0.3, False)])
def test_masks_with_squares_are_taken_for_half_of_the_damage(begun, monkeypatch, in_part, taken):
    monkeypatch.setattr(planner_module, "_HARMLESS", {"kl": 0.004})
    monkeypatch.setattr(compete_module, "_try_out", lambda bench, plan: in_part if parts(plan) else 0.5)
    run = begun(target_relus=0.667, polynomials=True)  # which whole layers hit
    found = found_for(run)
    assert (found.run is not run) is bool(parts(found.plans[0])) is taken


def test_masks_fill_what_whole_layers_miss(begun):
    run = begun(target_relus=0.9)
    found = found_for(run)
    best = found.plans[0]
    assert found.run is not run
    assert 0.9 * 388 <= relus(best) <= 388
    assert parts(best)
    layers = found_for(begun(target_relus=0.9, granularity="layer")).plans[0]
    assert relus(layers) == 288
    same = next(plan for plan in found.plans if plan.keys == layers.keys)  # both measured on the same samples
    assert best.damage < same.damage


def test_masks_wait_where_there_is_no_time_for_them(begun):
    run = begun(target_relus=0.9, time_budget="1s")
    found = found_for(run)
    assert found.run is run
    assert not parts(found.plans[0])


def test_where_whole_layers_hit_the_plan_is_that_of_whole_layers(begun):
    run = begun(target_relus=0.7)
    found = found_for(run)
    assert found.run is run
    assert found.plans == found_for(begun(target_relus=0.7, granularity="layer")).plans


def test_masks_that_bring_nothing_are_not_taken(begun, monkeypatch):
    """All plans do the same damage."""
    monkeypatch.setattr(compete_module, "_try_out", lambda bench, plan: 0.5)
    run = begun(target_relus=0.9)
    found = found_for(run)
    assert found.run is run
    assert parts(found.plans[0]) == []


def test_masks_reach_what_whole_layers_cannot(begun):
    run = begun(target_relus=0.3)
    assert run.inputs.config.granularity == "channel"
    assert relus(found_for(run).plans[0]) <= 129


@pytest.mark.parametrize("options", [{"granularity": "layer"}, {"sensitivity": "magnitude"}])
def test_who_asks_for_whole_layers_gets_no_masks(begun, options):
    with pytest.raises(TargetError, match="cannot be reached"):
        begun(target_relus=0.3, **options)
    assert parts(found_for(begun(target_relus=0.9, **options)).plans[0]) == []


def test_what_not_even_masks_reach_is_an_error(begun):
    with pytest.raises(TargetError, match="the lowest possible on this model is 36 ReLUs"):
        begun(target_relus=10)


def test_a_limit_for_the_sake_of_latency_is_not_to_be_hit(begun):
    run = begun(target_latency="0.9")
    (found,) = ranked(run, [replace(run.inputs.budget, relus=388)], tries_alone)
    assert found.run is run


def test_of_several_targets_those_that_are_missed_get_masks(begun):
    run = begun()
    budgets = [replace(run.inputs.budget, relus=count) for count in (388, 300, 130)]
    above, hit, below = ranked(run, budgets, tries_together)
    assert hit.run is run
    assert above.run is below.run is not run
    assert [
        relus(found.plans[0]) <= allowed.relus for found, allowed in zip((above, hit, below), budgets, strict=True)
    ]
    assert [bool(parts(found.plans[0])) for found in (above, hit, below)] == [True, False, True]


def test_a_plan_that_is_not_carried_out_has_masks_too(begun):
    run = begun(target_relus=0.9)
    finer, plan = proposed(run, run.inputs.budget)
    assert finer is not run
    assert 0.9 * 388 <= relus(plan) <= 388
    run = begun(target_relus=0.7)
    assert proposed(run, run.inputs.budget)[0] is run


def test_masks_that_auto_led_to_are_told(begun):
    run = begun(target_relus=0.9)
    masked, whole = found_for(run).plans[0], Plan((), {})
    (said,) = remark(run.inputs.config, masked)
    assert "--granularity layer does without" in said
    asked = run.inputs.config.model_copy(update={"granularity": "channel"})
    assert remark(run.inputs.config, whole) == remark(asked, masked) == []


# An accuracy budget alone.


def test_masks_go_further_within_an_accuracy_budget(begun, monkeypatch):
    """Plans that remove more than a quarter are taken to lose too much, so whole layers can do nothing."""
    monkeypatch.setattr(choose_module, "_SHARES", (0.95, 0.8, 0.5))
    attempts = Run.attempt

    def lossy(run, plan, original=None):
        attempt = attempts(run, plan, original)
        lost = 0.0 if relus(plan) >= 0.75 * 432 else 0.5
        fidelity = replace(attempt.comparison.fidelity, agreement=1 - lost)
        return replace(attempt, comparison=replace(attempt.comparison, fidelity=fidelity))

    monkeypatch.setattr(Run, "attempt", lossy)
    _, alone, _ = choose(begun(max_drop=0.1, granularity="layer"), Budget())
    assert alone.plan.candidates == ()
    run = begun(max_drop=0.1)
    finer, best, _ = choose(run, run.inputs.budget)
    assert finer is not run
    assert 0.75 * 432 <= relus(best.plan) <= 0.8 * 432
    assert parts(best.plan)


def test_masks_that_go_no_further_are_not_taken(begun, monkeypatch):
    """No plan is taken to lose anything: whole layers reach the lowest share that is tried."""
    monkeypatch.setattr(choose_module, "_SHARES", (0.9, 0.4))
    run = begun(max_drop=1.0)
    same, best, _ = choose(run, run.inputs.budget)
    assert same is run
    assert relus(best.plan) == 144
