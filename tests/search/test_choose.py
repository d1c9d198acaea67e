"""Which of the plans that were carried out is kept, and when none is good enough."""

import json
import math
import re
from dataclasses import replace

import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.network import Network
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Silent
from onnxshallow.search import choose as choose_module
from onnxshallow.search import compete as compete_module
from onnxshallow.search import run as run_module
from onnxshallow.search import tries as tries_module
from onnxshallow.search.attempt import Attempt, carry_out
from onnxshallow.search.choose import choose
from onnxshallow.search.granularity import Ranked
from onnxshallow.search.inputs import observe
from onnxshallow.search.plan import Plan
from onnxshallow.search.run import Run
from onnxshallow.search.watched import with_watched
from onnxshallow.validation.compare import Comparison, Fidelity
from onnxshallow.validation.gates import Limits
from onnxshallow.validation.growth import BOUND
from tests.networks import smooth
from tests.partials import steep
from tests.runs import assert_error, load_case, read_json, run, save_case, stability_of

BLOWN_UP = stability_of(1e5, "Relu_1")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A network whose activations may become parabolas, and what it does with its samples."""
    arrays = {"x": smooth(96, 3, 6)}
    inputs = load_case(tmp_path_factory.mktemp("choose"), arrays=arrays, target_relus=0.6, polynomials=True)
    inputs = with_watched(inputs, Silent())
    return inputs, observe(inputs, Silent())


def attempt(drop, stability=None, limits=None):
    """A plan that was carried out, whose answers differ from the original's for so many samples."""
    fidelity = Fidelity(samples=1000, agreement=1 - drop, kl=None, relative_error={})
    realized = Realized(Network(onnx.ModelProto()), [])
    return Attempt(Plan((), {}), realized, Comparison(None, None, fidelity), False, limits, stability)


def test_what_is_unstable_comes_last_however_little_it_loses():
    good, better, unstable = attempt(0.2), attempt(0.1), attempt(0.0, BLOWN_UP)
    assert sorted([unstable, good, better], key=Attempt.rank) == [better, good, unstable]


def test_what_is_refused_comes_after_what_is_not():
    limits = Limits(max_drop=0.15)
    good, bad, worse, unstable = (attempt(*of, limits=limits) for of in ((0.1,), (0.2,), (0.3,), (0.0, BLOWN_UP)))
    assert sorted([unstable, worse, bad, good], key=Attempt.rank) == [good, bad, worse, unstable]


@pytest.mark.parametrize(
    ("finetune", "found", "enough"),
    [
        (None, (0.1,), True),
        (None, (0.2,), False),
        ("10steps", (0.2,), True),
        ("10steps", (0.0, BLOWN_UP), False),
    ],
)
def test_what_is_trained_afterwards_only_has_to_stay_in_bounds(case, finetune, found, enough):
    made = attempt(*found, limits=Limits(max_drop=0.15))
    assert choose_module._is_enough(made, search_of(case, finetune=finetune)) is enough


@pytest.mark.parametrize(("lost", "tried"), [(0.16, 3), (0.18, 3), (0.19, 1)])
def test_far_from_what_is_allowed_no_other_plan_is_tried(case, lost, tried):
    attempts = []

    class Counting(Run):
        def attempt(self, plan):
            attempts.append(plan)
            return attempt(lost, limits=Limits(max_drop=0.15))

    run = search_of(case)
    counting = Counting(run.inputs, run.observation, run.progress, run.clock)
    plans = [Plan((), {}, 0.1 * number) for number in range(3)]
    choose_module._best_of(Ranked(counting, plans))
    assert len(attempts) == tried


def search_of(case, **options):
    inputs, observation = case
    inputs = replace(inputs, config=inputs.config.model_copy(update=options))
    return Run(inputs, observation, Silent(), Clock())


def test_plans_that_blow_up_lose_the_competition(case, monkeypatch):
    steep(monkeypatch)
    monkeypatch.setattr(tries_module, "_MOST_TRIES", 24)
    monkeypatch.setattr(tries_module, "_FEWEST_TOLD_APART", 24)
    shared = search_of(case)
    _, best, reasons = choose(shared, shared.inputs.budget)
    assert shared.competed
    assert not any(c.squares for plan in shared.competed for c in plan.candidates)
    assert not any(c.squares for c in best.plan.candidates)
    assert best.stability is None
    assert reasons == []


def test_where_all_plans_are_refused_those_without_squares_get_their_turn(case, monkeypatch):
    """Two plans with squares are tried, as for a large network, and there is no time for more."""
    steep(monkeypatch)
    monkeypatch.setattr(tries_module, "_affordable_tries", lambda inputs: 2)
    shared = search_of(case)
    _, best, _ = choose(shared, shared.inputs.budget)
    assert best.stability is None
    assert not any(c.squares for c in best.plan.candidates)


def squares_of(plan):
    return sum(c.squares for c in plan.candidates)


def test_where_all_plans_are_refused_fewer_squares_are_tried_first(case, monkeypatch):
    """Plans with more squares than so many are refused."""
    shared = search_of(case)
    budget = shared.inputs.budget
    (measured,) = shared.meter.measure_for([budget])
    tried = []

    def found(most):
        def try_out(bench, plan):
            tried.append(squares_of(plan))
            return 0.1 if squares_of(plan) <= most else math.nan

        tried.clear()
        monkeypatch.setattr(compete_module, "_try_out", try_out)
        (plans,) = compete_module.search(shared.inputs, shared.observation, [measured], [budget], Silent(), 2)
        return plans

    all_refused = found(-1)
    usual = min(tried[:2])
    assert usual > 1
    assert max(tried[2:4]) <= usual // 2
    assert set(tried[4:]) == {0}
    assert all(squares_of(plan) == 0 for plan in all_refused)
    some = found(usual // 2)
    assert 0 < max(map(squares_of, some)) <= usual // 2
    assert max(map(squares_of, found(usual))) == usual


def test_without_the_blow_up_parabolas_win(case):
    shared = search_of(case)
    _, best, _ = choose(shared, shared.inputs.budget)
    assert any(c.squares for c in best.plan.candidates)


def test_a_search_by_accuracy_alone_passes_over_what_is_unstable(case, monkeypatch):
    steep(monkeypatch)
    shared = search_of(case, target_relus=None, max_drop=0.9)
    monkeypatch.setattr(tries_module, "_MOST_TRIES", 24)
    monkeypatch.setattr(tries_module, "_FEWEST_TOLD_APART", 24)
    monkeypatch.setattr(choose_module, "_SHARES", (0.6, 0.0))  # none can only be reached by squares
    _, best, _ = choose(shared, shared.inputs.budget)
    assert best.stability is None
    assert best.plan.candidates
    assert best.usable


# On the command line.

GOAL = ("--polynomials", "--target-relus", "0.0001", "--no-cache")


@pytest.fixture(autouse=True)
def few_plans(monkeypatch):
    """These runs show as much when they compare two plans only."""
    monkeypatch.setattr(tries_module, "_MOST_TRIES", 2)


@pytest.fixture(scope="module")
def squared(tmp_path_factory):
    """A run whose plan makes parabolas of activations, and its files: the network, its data, the plan."""
    folder = tmp_path_factory.mktemp("squared")
    model, data = save_case(folder, x=smooth(64, 3, 6))
    plan = folder / "plan.json"
    return run("optimize", model, "--calib", data, *GOAL, "--plan-out", plan), model, data, plan


def test_a_target_that_only_unstable_plans_reach_is_refused(tmp_path, monkeypatch):
    steep(monkeypatch)
    model, data = save_case(tmp_path, x=smooth(64, 3, 6))
    outcome = run("optimize", model, "--calib", data, *GOAL, "--keep-rejected")
    assert_error(outcome, 4, "It is not stable: on ", f"more than {BOUND:g}. Leave out --polynomials")
    assert re.search(r"the activations of '(r0|r1|r2|y)' grow to [\d.e+]+ times the original's", outcome.stderr)
    report = read_json(tmp_path / "net.shallow.json")
    assert report["verdict"]["exit_code"] == 4
    assert "grow to" in report["verdict"]["reasons"][0]
    assert report["verdict"]["findings"][0]["about"] == "stability"
    assert analyze(onnx.load(tmp_path / "net.shallow.onnx")).cost.relus == 0


def test_the_same_target_is_met_where_nothing_blows_up(squared):
    outcome, model, *_ = squared
    assert outcome.exit_code == 0
    report = read_json(model.with_name("net.shallow.json"))
    assert (report["optimized"]["relus"], report["original"]["squares"]) == (0, 0)
    assert report["optimized"]["squares"] > 0
    assert max(growth["factor"] for growth in report["stability"]["growth"]) <= BOUND
    assert [found["site"] for found in report["stability"]["ranges"]] == ["r0", "r1", "r2", "y"]


def test_a_plan_that_blows_up_is_refused_where_it_is_applied(squared, monkeypatch, tmp_path):
    steep(monkeypatch)
    _, model, data, plan = squared
    outcome = run("apply", model, plan, "--calib", data, "-o", tmp_path / "again.onnx")
    assert_error(outcome, 4, "It is not stable: on ", "grow to")
    assert not (tmp_path / "again.onnx").exists()


def test_a_frontier_says_which_of_its_points_are_refused(tmp_path, monkeypatch):
    def spoilt(inputs, observation, plan, progress):
        everything = sum(c.relus for c in plan.candidates) == inputs.analysis.cost.relus
        realized, stability = carry_out(inputs, observation, plan, progress)
        return realized, BLOWN_UP if everything else stability

    monkeypatch.setattr(run_module, "carry_out", spoilt)
    model, data = save_case(tmp_path, x=smooth(96, 3, 6))
    outcome = run(
        "pareto", model, "--calib", data, "--polynomials", "--targets", "0.7,0.0001", "--no-cache", "--json", "-"
    )
    assert outcome.exit_code == 0
    good, refused = json.loads(outcome.stdout)["points"]
    assert good["optimized"]["relus"] > 0
    assert refused["optimized"] is refused["plan"] is None
    assert refused["reason"].startswith(f"It is not stable: {BLOWN_UP.why_unstable}. ")


@pytest.mark.parametrize(("granularity", "masks"), [("auto", True), ("layer", False)])
def test_masks_have_their_turn_where_no_plan_of_whole_layers_may_be_used(tmp_path, monkeypatch, granularity, masks):
    in_part = property(lambda attempt: any(not c.whole for c in attempt.plan.candidates))
    monkeypatch.setattr(Attempt, "usable", in_part)
    inputs = load_case(tmp_path, target_relus=0.67, granularity=granularity)
    found_in, best, _ = choose(Run.begin(inputs, Silent(), Clock()), inputs.budget)
    assert best.usable is masks
    assert found_in.inputs.config.granularity == ("channel" if masks else "layer")
