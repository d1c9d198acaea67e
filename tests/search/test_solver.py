import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxshallow.actions.decompose import Split
from onnxshallow.actions.fuse import Merger
from onnxshallow.actions.linearize import Removal
from onnxshallow.search.solver import Budget, Problem, conflicts


def remove(name, relus, *, macs=0, depth=0, nodes=None, source=None):
    return Removal(
        "linearize",
        (name,),
        source or f"{name}.in",
        f"{name}.out",
        relus=relus,
        macs=macs,
        depth=depth,
        nodes=frozenset({name} if nodes is None else nodes),
    )


def problem(candidates, *, relus=100, macs=1000, layers=10, sites=10, budget=None, pairs=()):
    return Problem(tuple(candidates), relus, macs, layers, sites, budget or Budget(), tuple(pairs))


def names(chosen):
    return None if chosen is None else {name for candidate in chosen for name in candidate.sites}


def damages(candidates, values):
    return {candidate.key: value for candidate, value in zip(candidates, values, strict=True)}


def total(chosen, values, pairs=()):
    """What a choice does: the sum over its candidates and over the pairs of which it changes both places."""
    places = {candidate.place for candidate in chosen}
    return sum(values[c.key] for c in chosen) + sum(values[pair] for pair in pairs if places.issuperset(pair))


@st.composite
def problems(draw):
    """A small problem with random savings, conflicts, pairs and budgets, and damages for it."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 7))
    candidates = [
        remove(
            f"s{index}",
            int(random.integers(0, 30)),
            macs=int(random.integers(-30, 60)),
            depth=int(random.integers(-1, 3)),
            nodes=set(random.choice(8, size=int(random.integers(1, 4)), replace=False).tolist()),
        )
        for index in range(count)
    ]
    budget = Budget(
        draw(st.none() | st.integers(0, 120)),
        draw(st.none() | st.integers(850, 1050)),
        draw(st.sampled_from([None, None, 0, 1, 2])),
    )
    places = itertools.combinations([candidate.place for candidate in candidates], 2)
    pairs = [pair for pair in places if random.random() < 0.3]
    values = damages(candidates, random.integers(1, 1000, size=count) / 1000)
    values |= {pair: int(random.integers(0, 1000)) / 1000 for pair in pairs}
    return problem(candidates, sites=draw(st.integers(1, count + 1)), budget=budget, pairs=pairs), values


def feasible(task):
    """Every choice that is allowed, by trying all."""
    for size in range(len(task.candidates) + 1):
        for chosen in itertools.combinations(task.candidates, size):
            apart = all(not a.nodes & b.nodes for a, b in itertools.combinations(chosen, 2))
            relus = task.relus - sum(c.relus for c in chosen)
            macs = task.macs - sum(c.macs for c in chosen)
            within = task.budget.relus is None or relus <= task.budget.relus
            within = within and (task.budget.macs is None or macs <= task.budget.macs)
            least = task.budget.depth_saved
            within = within and (least is None or sum(c.depth for c in chosen) >= least)
            if apart and within and sum(len(c.sites) for c in chosen) < task.sites:
                yield chosen


many = settings(deadline=None, max_examples=150, derandomize=True)


@many
@given(problems())
def test_no_allowed_choice_does_less_damage(drawn):
    task, values = drawn
    sums = [total(chosen, values, task.pairs) for chosen in feasible(task)]
    found = task.least_damage(values)
    if not sums:
        assert found is None
        return
    assert found in list(feasible(task))
    assert total(found, values, task.pairs) == pytest.approx(min(sums), abs=1e-6)


@many
@given(problems(), st.floats(0.05, 2.0))
def test_no_allowed_choice_within_the_damage_saves_more(drawn, most):
    task, values = drawn

    def saving(chosen):
        limited = task.budget.macs is not None  # else multiply-adds are no reason to prefer a plan
        return sum(limited * c.macs / task.macs + c.depth / task.layers for c in chosen)

    within = [chosen for chosen in feasible(task) if total(chosen, values, task.pairs) <= most - 1e-4]
    found = task.cheapest(values, most)
    if within:
        assert found is not None
        assert saving(found) >= max(map(saving, within)) - 1.1e-3
    if found is not None:
        assert found in list(feasible(task))
        assert total(found, values, task.pairs) <= most + 1e-4


@many
@given(problems())
def test_what_can_be_reached_is_reached(drawn):
    task, _ = drawn
    free = problem(task.candidates, sites=task.sites)
    assert task.fewest("relus") == min(task.relus - sum(c.relus for c in chosen) for chosen in feasible(free))
    assert task.fewest("macs") == min(task.macs - sum(c.macs for c in chosen) for chosen in feasible(free))


def test_candidates_that_replace_the_same_node_exclude_each_other():
    candidates = [remove("a", 40, nodes={1, 2}), remove("b", 40, nodes={2, 3}), remove("c", 10, nodes={4})]
    assert conflicts(candidates) == [(0, 1)]
    task = problem(candidates, budget=Budget(relus=50))
    assert names(task.least_damage(damages(candidates, [0.1, 0.2, 0.3]))) == {"a", "c"}


def test_a_merger_and_the_removal_after_it_exclude_each_other_where_both_are_one_candidate():
    inner = Merger("fuse", ("a",), "x", "s", kernel=(3, 3), relus=20, nodes=frozenset({1, 2, 3}))
    after = Removal("linearize", ("b",), "s", "y", relus=20, nodes=frozenset({4}))
    whole = Merger("fuse", ("a", "b"), "x", "y", kernel=(3, 3), relus=40, nodes=frozenset({1, 2, 3, 4}))
    candidates = [inner, after, whole]
    assert conflicts(candidates) == [(0, 1), (0, 2), (1, 2)]
    task = problem(candidates, budget=Budget(relus=60))
    assert task.least_damage(damages(candidates, [0.1, 0.1, 0.3])) == (whole,)


def test_a_merger_and_the_removal_after_it_go_together_where_both_are_no_candidate_of_that_size():
    inner = Merger("fuse", ("a",), "x", "s", kernel=(3, 3), relus=20, nodes=frozenset({1, 2, 3}))
    after = Removal("linearize", ("b",), "s", "y", relus=20, nodes=frozenset({4}))
    whole = Merger("fuse", ("a", "b"), "x", "y", kernel=(5, 5), relus=40, nodes=frozenset({1, 2, 3, 4}))
    candidates = [inner, after, whole]
    assert conflicts(candidates) == [(0, 2), (1, 2)]
    task = problem(candidates, budget=Budget(relus=60))
    assert task.least_damage(damages(candidates, [0.1, 0.1, 0.3])) == (inner, after)


def test_sizes_and_ranks_of_one_place_exclude_each_other():
    sizes = [Merger("fuse", (), "x", "y", kernel=(k, k), nodes=frozenset({1, 2})) for k in (1, 3, 5)]
    ranks = [Split("decompose", (), "x", "h", rank=rank, nodes=frozenset({1})) for rank in (8, 4)]
    assert conflicts([*sizes, *ranks]) == [(0, 1, 2), (0, 1, 2, 3, 4)]


def test_one_site_always_stays():
    candidates = [remove("a", 50), remove("b", 50)]
    values = damages(candidates, [0.1, 0.2])
    assert problem(candidates, sites=2, budget=Budget(relus=0)).least_damage(values) is None
    assert names(problem(candidates, sites=3, budget=Budget(relus=0)).least_damage(values)) == {"a", "b"}
    assert problem(candidates, sites=2).fewest("relus") == 50


def test_a_budget_that_cannot_be_reached_has_no_solution():
    candidates = [remove("a", 30)]
    assert problem(candidates, budget=Budget(relus=69)).least_damage(damages(candidates, [0.1])) is None


def test_layers_to_save_are_saved():
    candidates = [remove("a", 30), remove("b", 0, depth=1)]
    values = damages(candidates, [0.1, 0.2])
    assert names(problem(candidates, budget=Budget(depth_saved=1)).least_damage(values)) == {"b"}
    assert problem(candidates, budget=Budget(depth_saved=2)).least_damage(values) is None


def test_layers_may_be_added_unless_the_budget_says_otherwise():
    candidates = [remove("split", 50, depth=-1), remove("a", 50)]
    values = damages(candidates, [0.1, 0.2])
    assert names(problem(candidates, budget=Budget(relus=50)).least_damage(values)) == {"split"}
    assert names(problem(candidates, budget=Budget(relus=50, depth_saved=0)).least_damage(values)) == {"a"}


def test_a_budget_that_is_met_already_needs_nothing():
    candidates = [remove("a", 30)]
    assert problem(candidates, budget=Budget(relus=100)).least_damage(damages(candidates, [0.1])) == ()


def test_no_candidates_reach_only_what_is_met_already():
    assert problem([], budget=Budget(relus=100)).least_damage({}) == ()
    assert problem([], budget=Budget(relus=99)).least_damage({}) is None
    assert problem([]).least_damage({}, [frozenset()]) is None


@pytest.mark.parametrize(
    "total",
    [12_000_000, 2_000_000_000],
)
def test_budgets_are_kept_in_whole_numbers(total):
    half = total // 2
    candidates = [remove("enough", half), remove("one too few", half - 1)]
    task = problem(candidates, relus=total, budget=Budget(relus=total - half))
    assert names(task.least_damage(damages(candidates, [1.0, 0.1]))) == {"enough"}


def test_a_plan_that_was_tried_is_not_found_again():
    candidates = [remove("a", 50), remove("b", 50)]
    values = damages(candidates, [0.1, 0.2])
    task = problem(candidates, budget=Budget(relus=50))
    first = task.least_damage(values)
    assert names(first) == {"a"}
    second = task.least_damage(values, [frozenset(c.key for c in first)])
    assert names(second) == {"b"}


def test_of_equals_the_earlier_candidate_is_taken():
    candidates = [remove(name, 50) for name in "abc"]
    task = problem(candidates, budget=Budget(relus=50))
    assert names(task.least_damage(damages(candidates, [0.1, 0.1, 0.1]))) == {"a"}


def test_a_negative_damage_counts_as_none():
    candidates = [remove("a", 50), remove("b", 50)]
    assert problem(candidates).least_damage(damages(candidates, [-1.0, 0.5])) == ()


# Pairs that do more than their sum.


def three_and_a_pair():
    """Three candidates of which two are needed, the best two of which do much more together."""
    candidates = [remove(name, 30) for name in "abc"]
    pair = (candidates[0].place, candidates[1].place)
    values = damages(candidates, [0.1, 0.2, 0.3])
    return candidates, pair, values


def test_what_a_pair_does_beyond_its_sum_counts():
    candidates, pair, values = three_and_a_pair()
    budget = Budget(relus=40)
    assert names(problem(candidates, budget=budget).least_damage(values)) == {"a", "b"}
    task = problem(candidates, budget=budget, pairs=[pair])
    assert names(task.least_damage(values | {pair: 0.05})) == {"a", "b"}
    assert names(task.least_damage(values | {pair: 0.15})) == {"a", "c"}
    assert names(task.cheapest(values | {pair: 0.15}, 0.42)) == {"a", "c"}
    assert task.cheapest(values | {pair: 0.15}, 0.39) is None


def test_a_pair_counts_once_and_only_where_both_are_changed():
    candidates, pair, values = three_and_a_pair()
    task = problem(candidates, budget=Budget(relus=70), pairs=[pair])
    assert names(task.least_damage(values | {pair: 9.0})) == {"a"}
    whole = problem(candidates, budget=Budget(relus=10), pairs=[pair])
    assert names(whole.least_damage(values | {pair: 9.0})) == {"a", "b", "c"}
    assert names(whole.cheapest(values | {pair: 9.0}, 9.61)) == {"a", "b", "c"}
    assert whole.cheapest(values | {pair: 9.0}, 9.59) is None


def test_a_pair_speaks_of_every_size_at_its_places():
    sizes = [Merger("fuse", ("a",), "x", "y", kernel=(k, k), relus=30, nodes=frozenset({1, 2})) for k in (1, 3, 5)]
    candidates = [*sizes, remove("b", 30), remove("c", 30)]
    pair = (sizes[0].place, candidates[3].place)
    values = damages(candidates, [0.1, 0.2, 0.3, 0.1, 0.3]) | {pair: 0.5}
    chosen = problem(candidates, budget=Budget(relus=40), pairs=[pair]).least_damage(values)
    assert chosen in [(sizes[0], candidates[4]), (candidates[3], candidates[4])]


def test_a_pair_that_does_less_than_its_sum_counts_as_none():
    candidates, pair, values = three_and_a_pair()
    task = problem(candidates, budget=Budget(relus=70), pairs=[pair])
    assert names(task.least_damage(values | {pair: -5.0})) == {"a"}


def test_plans_that_were_tried_and_neighbours_are_kept_apart_with_pairs_too():
    candidates, pair, values = three_and_a_pair()
    task = problem(candidates, budget=Budget(relus=40), pairs=[pair])
    values |= {pair: 0.15}
    tried = []
    while (found := task.least_damage(values, tried, frozenset({candidates[0].key}))) is not None:
        tried.append(frozenset(c.key for c in found))
    assert len(set(tried)) == len(tried) == 4  # three of two candidates and one of three, least damage first
    assert tried[0] == {candidates[0].key, candidates[2].key}


def test_squares_are_limited():
    candidates = [remove("a", 40), replace(remove("b", 40), squares=40), replace(remove("c", 40), squares=20)]
    values = damages(candidates, [9.0, 1.0, 2.0])
    assert names(problem(candidates, budget=Budget(relus=20)).least_damage(values)) == {"b", "c"}
    for most, expected in ((60, {"b", "c"}), (59, {"a", "b"}), (20, {"a", "c"})):
        task = problem(candidates, budget=Budget(relus=20, squares=most))
        chosen = task.least_damage(values)
        assert names(chosen) == expected
        assert task.reached(chosen)
    assert problem(candidates, budget=Budget(relus=20, squares=19)).least_damage(values) is None
    assert not problem(candidates, budget=Budget(relus=20, squares=59)).reached(candidates[1:])


# HiGHS prints with C's printf, past Python, and C keeps what it prints until there is enough of it.
PRINTING = """
import ctypes, os
import scipy.optimize
from onnxshallow.search.solver import Budget
from tests.search.test_solver import damages, problem, remove

def printing(*arguments, **options):
    found = milp(*arguments, **options)
    os.write(1, b"at once")
    ctypes.CDLL(None).printf(b"later")
    return found

milp, scipy.optimize.milp = scipy.optimize.milp, printing
candidates = [remove("a", 10), remove("b", 20)]
print("before")
problem(candidates, budget=Budget(90)).least_damage(damages(candidates, [1.0, 2.0]))
print("after")
"""


@pytest.mark.skipif(os.name != "posix", reason="finds printf in the process itself")
def test_what_the_solver_prints_does_not_get_among_results():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-c", PRINTING], env=environment, cwd=root, capture_output=True, text=True
    )
    assert (process.stdout, process.stderr, process.returncode) == ("before\nafter\n", "", 0)
