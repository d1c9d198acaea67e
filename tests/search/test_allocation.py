"""ALDS' choice of ranks: the largest relative error is the least that reaches the targets."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose
from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError, UsageError
from onnxshallow.search.allocation import beside_measured, evenly_split, least_largest_error, least_sum_of_powers
from onnxshallow.search.planner import read_budget
from onnxshallow.search.solver import Budget
from onnxshallow.workflows.optimize import optimize, plan
from tests.networks import build, signed

TEXT = """(float[N,16,8,8] x) => (float[N,8] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0)
    r0 = Relu(h0)
    h1 = Conv<pads=[1,1,1,1], strides=[2,2]>(r0, w1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2)
    r2 = Relu(h2)
    f = Flatten(r2)
    y = Gemm<transB=1>(f, w3)
}"""


def falling(outputs, inputs, seed, rate):
    """Weights whose singular values fall by `rate` from one to the next."""
    u, v = (np.linalg.qr(signed((size, size), seed + n))[0] for n, size in enumerate((outputs, inputs)))
    rank = min(outputs, inputs)
    return (u[:, :rank] * rate ** np.arange(rank)) @ v[:rank]


MODEL = build(
    TEXT,
    w0=falling(24, 16 * 9, 1, 0.9).reshape(24, 16, 3, 3).astype(np.float32),
    w1=falling(32, 24 * 9, 3, 0.8).reshape(32, 24, 3, 3).astype(np.float32),
    w2=falling(32, 32 * 9, 5, 0.95).reshape(32, 32, 3, 3).astype(np.float32),
    w3=falling(8, 512, 7, 0.7).astype(np.float32),
)
ANALYSIS = analyze(MODEL)
COST = ANALYSIS.cost
EVERY = Decompose().find(ANALYSIS, FindOptions(deeper=True, every_size=True)).candidates
SPREADS = (least_largest_error, least_sum_of_powers)
PLAIN = [candidate for candidate in EVERY if (candidate.groups, candidate.taps) == (1, "all")]


def one_step_worse(candidate):
    """The error of the next smaller rank of the same form."""
    return next((c.error for c in EVERY if replace(c, rank=c.rank + 1).key == candidate.key), 1.0)


@pytest.mark.parametrize("share", [0.8, 0.6, 0.4])
def test_the_relative_errors_of_the_layers_come_out_equal_within_a_rank(share):
    chosen = least_largest_error(ANALYSIS, PLAIN, Budget(macs=int(share * COST.macs)))
    largest = max(candidate.error for candidate in chosen)
    assert len(chosen) >= 3
    assert COST.macs - sum(c.macs for c in chosen) <= share * COST.macs
    for candidate in chosen:
        assert candidate.error <= largest < one_step_worse(candidate)


@pytest.mark.parametrize("candidates", [PLAIN, EVERY], ids=["one form", "all forms"])
def test_no_smaller_error_reaches_the_target(candidates):
    chosen = least_largest_error(ANALYSIS, candidates, Budget(macs=COST.macs // 2))
    largest = max(candidate.error for candidate in chosen)
    most = {}
    for candidate in candidates:
        if candidate.error < largest:
            most[candidate.place] = max(most.get(candidate.place, 0), candidate.macs)
    assert COST.macs - sum(most.values()) > COST.macs // 2
    assert len({candidate.place for candidate in chosen}) == len(chosen)


def test_more_forms_never_err_more():
    errors = [
        max(c.error for c in least_largest_error(ANALYSIS, candidates, Budget(macs=COST.macs // 2)))
        for candidates in (PLAIN, EVERY)
    ]
    assert errors[1] <= errors[0]


def test_parameters_are_a_target_as_well():
    chosen = least_largest_error(ANALYSIS, EVERY, Budget(macs=COST.macs, params=COST.params // 2))
    assert COST.params - sum(c.params for c in chosen) <= COST.params // 2


@pytest.mark.parametrize("spread", SPREADS)
def test_a_target_out_of_reach_is_told(spread):
    with pytest.raises(TargetError, match="Layers that are split do not reach the targets"):
        spread(ANALYSIS, EVERY, Budget(macs=1))


def sum_of_powers(chosen):
    return sum(candidate.left**8 for candidate in chosen)


@pytest.mark.parametrize("share", [0.8, 0.6, 0.4])
def test_the_sum_of_powers_is_less_than_where_the_largest_error_is_least(share):
    budget = Budget(macs=int(share * COST.macs))
    by_left = [replace(candidate, error=candidate.left) for candidate in PLAIN]
    even, minmax = least_sum_of_powers(ANALYSIS, PLAIN, budget), least_largest_error(ANALYSIS, by_left, budget)
    assert COST.macs - sum(c.macs for c in even) <= share * COST.macs
    assert sum_of_powers(even) <= sum_of_powers(minmax)
    assert max(c.left for c in minmax) <= max(c.left for c in even) < 1.5 * max(c.left for c in minmax)


def test_no_exchange_of_two_ranks_lowers_the_sum_of_powers():
    chosen = least_sum_of_powers(ANALYSIS, PLAIN, Budget(macs=COST.macs // 2))
    ways = {c.place: [other for other in PLAIN if other.place == c.place] for c in chosen}
    saved, least = sum(c.macs for c in chosen), sum_of_powers(chosen)
    for first, second in itertools.permutations(chosen, 2):
        rest = [c for c in chosen if c not in (first, second)]
        for pair in itertools.product(ways[first.place], ways[second.place]):
            if sum(c.macs for c in (*rest, *pair)) >= saved:
                assert sum_of_powers([*rest, *pair]) >= least * (1 - 1e-9)


def test_a_layer_that_would_be_split_for_little_stays():
    chosen = least_sum_of_powers(ANALYSIS, EVERY, Budget(macs=int(0.99 * COST.macs)))
    assert 1 <= len(chosen) < len({candidate.place for candidate in EVERY})


def test_the_plan_competes_where_splits_reach_the_budget_and_may_be(inputs):
    def beside(**options):
        config = inputs.config.model_copy(update={"target_relus": None, **options})
        asked = replace(inputs, config=config)
        return beside_measured(asked, [read_budget(config, asked.analysis)])

    found = beside(target_macs=0.8)
    assert len(found) == 2
    assert all(candidate.kind == "split" for plan in found for candidate in plan.candidates)
    assert beside(target_relus=0.5) == []
    assert beside(target_macs=0.8, target_relus=0.01) == []
    assert beside(target_macs=0.8, kernel="exact") == []


@pytest.mark.parametrize("allocation", ["even", "minmax"])
def test_it_needs_no_samples(inputs, allocation):
    config = inputs.config.model_copy(update={"target_relus": None, "target_macs": 0.8, "allocation": allocation})
    asked = replace(inputs, config=config)
    proposal = plan(inputs.document, target_macs=0.8, allocation=allocation, cache=None)
    assert proposal.plan.keys == evenly_split(asked, read_budget(config, inputs.analysis)).keys
    assert {change.damage for change in proposal.report.changes} == {None}
    assert all(change.weight_error is not None for change in proposal.report.changes)


def test_a_run_carries_out_that_plan_and_no_other(inputs):
    result = optimize(inputs.document, target_macs=0.8, allocation="minmax", cache=None)
    assert {candidate.kind for candidate in result.plan.candidates} == {"split"}
    assert result.report.optimized.macs <= 0.8 * result.report.original.macs


@pytest.mark.parametrize("options", [{"target_relus": 0.5}, {"target_macs": 0.5, "target_depth": 0.9}])
def test_other_targets_are_refused(inputs, options):
    with pytest.raises(UsageError, match="splits layers and does nothing else"):
        optimize(inputs.document, allocation="minmax", **options)


def test_a_target_that_splits_reach_is_needed(inputs):
    with pytest.raises(UsageError, match="needs --target-macs, --target-params or --target-size"):
        optimize(inputs.document, allocation="minmax", max_drop=0.01, calib="x.npz")
