import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.search.candidates import find_candidates
from onnxshallow.search.frontier import SHARES, expected_frontier
from onnxshallow.search.plan import Plan
from onnxshallow.search.solver import Budget
from tests.runs import net


@pytest.fixture(scope="module")
def found():
    analysis = analyze(net())
    candidates, _ = find_candidates(analysis, FindOptions())
    random = np.random.default_rng(0)
    return analysis, candidates, {c.key: float(random.uniform(0.1, 1)) for c in candidates}


def relus(analysis, plan):
    return analysis.cost.relus - sum(c.relus for c in plan.candidates)


def test_each_share_is_kept_by_a_plan_and_fewer_relus_cost_more(found):
    analysis, candidates, damages = found
    frontier = expected_frontier(analysis, candidates, damages, [], Budget())
    reached = [relus(analysis, plan) / analysis.cost.relus for plan in frontier]
    assert all(share <= wanted for share, wanted in zip(reached, SHARES, strict=False))
    expected = [plan.damage for plan in frontier]
    assert expected == sorted(expected)
    assert expected[0] > 0


def test_shares_out_of_reach_are_left_out(found):
    analysis, candidates, damages = found
    only = [c for c in candidates if c.sites == ("r0",)]
    frontier = expected_frontier(analysis, only, damages, [], Budget())
    least = 1 - analysis.site_by_name["r0"].size / analysis.cost.relus
    assert len(frontier) == sum(share >= least for share in SHARES)


def test_what_plans_really_did_is_learned(found):
    analysis, candidates, damages = found
    before = expected_frontier(analysis, candidates, damages, [], Budget())
    worse = [Plan(p.candidates, p.damages, 10 * p.damage) for p in before]
    after = expected_frontier(analysis, candidates, damages, worse, Budget())
    assert after[0].damage > 5 * before[0].damage
