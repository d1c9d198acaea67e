import itertools

import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.fuse import Fuse, Merger
from onnxshallow.actions.linearize import Linearize
from onnxshallow.actions.mask import Mask
from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError, UsageError
from onnxshallow.options.config import Config
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner, about_equal, read_budget
from onnxshallow.search.solver import Budget
from tests.networks import calibration_of, chain, feeds_of, residual, statistics_of

ANALYSIS = analyze(residual())
RELUS, MACS = ANALYSIS.cost.relus, ANALYSIS.cost.macs
SINGLES = Linearize().find(ANALYSIS, FindOptions()).candidates
ALL = (*Fuse().find(ANALYSIS, FindOptions()).candidates, *SINGLES)


def planner(candidates=SINGLES, values=None, **budget):
    damages = values or {c.key: 0.1 * (position + 1) for position, c in enumerate(candidates)}
    return Planner(ANALYSIS, candidates, damages, Budget(**budget))


def keys(plan):
    return frozenset(c.key for c in plan.candidates)


def saving(plan):
    return sum(c.relus for c in plan.candidates)


def test_every_proposal_reaches_the_budget():
    for plan in itertools.islice(planner(ALL, relus=RELUS // 2).proposals(), 8):
        assert RELUS - saving(plan) <= RELUS // 2


def test_no_plan_costs_multiply_adds_though_some_kernels_do():
    assert any(c.macs < 0 for c in ALL)
    for limit in (MACS, MACS * 4 // 5):
        plans = list(itertools.islice(planner(ALL, relus=RELUS // 2, macs=limit).proposals(), 12))
        assert len(plans) == 12
        assert all(MACS - sum(c.macs for c in plan.candidates) <= limit for plan in plans)


def test_a_kernel_that_costs_multiply_adds_is_taken_where_the_rest_of_the_plan_saves_them():
    large, small = (next(c for c in ALL if c.key == key) for key in ("fuse:5x5:r0->s1", "fuse:1x1:r2->r4"))
    assert large.macs < 0 < large.macs + small.macs
    values = {large.key: 0.1, small.key: 0.1}
    (plan,) = planner([large, small], values, relus=RELUS * 2 // 5, macs=MACS).proposals()
    assert set(plan.candidates) == {large, small}
    with pytest.raises(TargetError):
        next(planner([large], values, relus=RELUS * 4 // 5, macs=MACS).proposals())


def test_what_comes_next_is_known_as_long_as_nothing_is_learned():
    one, other = planner(ALL, relus=RELUS // 2), planner(ALL, relus=RELUS // 2)
    ours, theirs = one.proposals(), other.proposals()
    for _ in range(3):
        ahead = one.ahead(3)
        assert len(ahead) == 3
        assert [keys(plan) for plan in ahead] == [keys(next(theirs)) for _ in range(3)]
        assert [keys(next(ours)) for _ in range(3)] == [keys(plan) for plan in ahead]
    learnt = next(ours)
    one.learn(learnt, 5.0)
    assert one.ahead(1)[0].keys == next(ours).keys
    assert planner(relus=0).ahead(3) == []


def test_proposals_are_distinct():
    proposed = [keys(plan) for plan in itertools.islice(planner(ALL, relus=RELUS * 3 // 5).proposals(), 12)]
    assert len(proposed) == len(set(proposed)) == 12


def test_proposals_end_when_all_plans_were_proposed():
    proposed = list(planner(relus=RELUS * 4 // 5).proposals())
    assert len({keys(plan) for plan in proposed}) == len(proposed) == 2**5 - 2  # neither none nor all of five


def test_without_news_the_least_damage_comes_early():
    values = {c.key: value for c, value in zip(SINGLES, [0.5, 0.1, 0.4, 0.2, 0.3], strict=True)}
    first = next(planner(values=values, relus=RELUS * 4 // 5).proposals())
    assert [c.sites for c in first.candidates] == [("r1",)]


def test_a_proposal_carries_the_single_damages():
    plan = next(planner(relus=RELUS * 4 // 5).proposals())
    assert plan.predicted == pytest.approx(sum(plan.damages.values()))
    assert set(plan.damages) == keys(plan)


def test_learning_changes_the_order():
    def proposed(learn):
        values = {c.key: 0.1 + 0.001 * position for position, c in enumerate(SINGLES)}
        task = planner(values=values, relus=RELUS * 3 // 5)
        found = []
        for plan in itertools.islice(task.proposals(), 4):
            if learn:  # whatever holds the first site is far worse than the sum says
                bad = SINGLES[0] in plan.candidates
                task.learn(plan, plan.predicted * (20 if bad else 1))
            found.append(plan)
        return found

    blind, learned = proposed(False), proposed(True)
    assert [keys(plan) for plan in blind] != [keys(plan) for plan in learned]
    assert sum(SINGLES[0] in plan.candidates for plan in learned[1:]) < sum(
        SINGLES[0] in plan.candidates for plan in blind[1:]
    )


def test_a_plan_without_damage_teaches_nothing_harmful():
    task = planner(relus=RELUS * 4 // 5)
    proposals = task.proposals()
    task.learn(next(proposals), 0.0)
    assert next(proposals).candidates


def test_candidates_without_a_damage_are_left_out():
    values = {SINGLES[0].key: 0.1}
    (only,) = planner(values=values, relus=RELUS * 4 // 5).proposals()
    assert only.candidates == (SINGLES[0],)


def test_a_target_that_cannot_be_reached_says_what_can():
    with pytest.raises(TargetError) as caught:
        next(planner(relus=10).proposals())
    message = str(caught.value)
    assert "The target of 10 ReLUs" in message
    assert f"{RELUS // 5} ReLUs (20.00 %" in message


def test_a_target_of_multiply_adds_that_cannot_be_reached_says_what_can():
    with pytest.raises(TargetError) as caught:
        next(planner(ALL, macs=1).proposals())
    task = planner(ALL, macs=1)
    assert "The target of 1 MACs" in str(caught.value)
    assert f"the lowest possible on this model is {task._problem.fewest('macs')} MACs" in str(caught.value)


# Neighbours, which do more than the sum.


def first_of(values, removed):
    """Which sites the first plan removes, where each does `values` alone and a number of them must go."""
    named = {c.key: value for c, value in zip(SINGLES, values, strict=True)}
    plan = next(planner(values=named, relus=RELUS * (5 - removed) // 5).proposals())
    return {SINGLES.index(candidate) for candidate in plan.candidates}


def test_neighbours_are_left_for_what_is_further_apart():
    assert first_of([0.1, 0.101, 0.5, 0.5, 0.11], 2) == {0, 4}


def test_neighbours_are_taken_where_the_others_do_more():
    assert first_of([0.1, 0.101, 0.5, 0.5, 0.5], 2) == {0, 1}


def test_plans_show_that_neighbours_do_no_more_than_their_sum():
    values = {c.key: 0.1 + 0.001 * position for position, c in enumerate(SINGLES)}
    task = planner(values=values, relus=RELUS * 3 // 5)
    pairs = [term for term in task._believed() if not isinstance(term, str)]
    before = sum(task._believed()[pair] for pair in pairs)
    assert before > 0
    for plan in task.proposals():
        task.learn(plan, plan.predicted)
    assert sum(task._believed()[pair] for pair in pairs) < 0.5 * before


def first_of_two_ways(macs, macs_apart, damage_apart):
    """Whether the first plan changes two neighbours, each of which does 0.1; else it changes a place further off."""
    near = [
        Merger(
            "fuse",
            (site,),
            site,
            f"{site}.out",
            kernel=(1, 1),
            relus=RELUS // 5,
            macs=macs,
            nodes=frozenset({site}),
        )
        for site in ("r0", "r1")
    ]
    apart = Merger("fuse", ("r3", "r4"), "a", "b", kernel=(3, 3), relus=RELUS * 2 // 5, macs=macs_apart)
    values = {near[0].key: 0.1, near[1].key: 0.1, apart.key: damage_apart}
    plan = next(planner([*near, apart], values, relus=RELUS * 3 // 5, macs=MACS).proposals())
    assert set(plan.candidates) in (set(near), {apart})
    return apart not in plan.candidates


def test_a_cheaper_plan_counts_with_what_its_neighbours_do():
    assert not first_of_two_ways(100, 0, 0.2)
    assert first_of_two_ways(100, 0, 0.27)  # 0.1 + 0.1 + 0.1 is about equal


def test_a_plan_is_cheap_next_to_what_neighbours_do():
    assert not first_of_two_ways(0, 100, 0.35)
    assert first_of_two_ways(0, 100, 0.4)


# The budget of a run.


def test_a_share_is_a_share_of_the_original():
    assert read_budget(Config(target_relus="0.5"), ANALYSIS) == Budget(RELUS // 2, MACS, harmless=0.004)


def test_multiply_adds_may_not_rise_unless_kernels_are_composed():
    assert read_budget(Config(target_relus="0.5"), ANALYSIS).macs == MACS
    assert read_budget(Config(target_relus="0.5", kernel="exact"), ANALYSIS).macs is None


def test_who_asks_for_exact_kernels_gets_a_merger():
    assert read_budget(Config(kernel="exact"), ANALYSIS).depth_saved == 1


def test_a_target_of_multiply_adds_is_read():
    assert read_budget(Config(target_macs="0.5"), ANALYSIS) == Budget(None, MACS // 2, harmless=0.004)


def test_a_malformed_target_is_a_usage_error():
    with pytest.raises(UsageError):
        read_budget(Config.model_construct(target_relus="half"), ANALYSIS)


# The choice among plans that were carried out. The network has six layers, so one counts like a sixth of the MACs.


def carried_out(damage, *, macs=0.0, layers=0, exactness="fitted"):
    """A plan with its measured damage, what share of the multiply-adds it saves, and how many layers."""
    candidate = Merger("fuse", ("a",), "x", "y", exactness, kernel=(3, 3), macs=round(macs * MACS), depth=layers)
    return Plan((candidate,), {}, damage)


def kept(*plans):
    """Which of some plans is kept, by position."""
    return plans.index(about_equal(plans, ANALYSIS.cost, Budget())[0])


def test_of_plans_of_about_the_same_damage_the_cheapest_is_kept():
    assert kept(carried_out(1.0, macs=0.1), carried_out(1.05, macs=0.5), carried_out(2.0, macs=0.9)) == 1


def test_of_plans_that_save_the_same_the_least_damaged_is_kept():
    assert kept(carried_out(1.05, macs=0.1), carried_out(1.0, macs=0.1)) == 1


def test_a_layer_counts_as_much_as_its_share_of_the_multiply_adds():
    assert ANALYSIS.cost.depth == ANALYSIS.cost.linear_layers == 6
    assert kept(carried_out(1.0, macs=0.16), carried_out(1.0, layers=1)) == 1
    assert kept(carried_out(1.0, macs=0.17), carried_out(1.0, layers=1)) == 0


def test_layers_and_multiply_adds_add_up():
    assert kept(carried_out(1.0, macs=0.1, layers=1), carried_out(1.0, macs=0.2), carried_out(1.0, layers=1)) == 0


def test_a_plan_that_saves_layers_may_do_somewhat_more_damage():
    assert kept(carried_out(1.0), carried_out(1.4, layers=1)) == 1


def test_a_plan_that_saves_layers_may_not_do_much_more_damage():
    assert kept(carried_out(1.0), carried_out(1.6, layers=1)) == 0


def test_of_plans_that_save_something_none_may_do_much_more_than_the_best_of_them():
    assert kept(carried_out(1.0), carried_out(1.1, macs=0.1), carried_out(1.4, macs=0.9)) == 1


def test_of_plans_that_do_next_to_no_damage_the_one_that_saves_most_is_kept():
    """Beside 0.0001 also 0.0015 is none; 0.003 is."""
    plans = [carried_out(0.0001), carried_out(0.0015, macs=0.5), carried_out(0.003, macs=0.9)]
    chosen = about_equal(plans, ANALYSIS.cost, Budget(harmless=0.002))
    assert chosen == [plans[1]]
    assert kept(carried_out(0.0001, macs=0.1), carried_out(0.0015, macs=0.5)) == 0


def test_the_plans_of_about_the_least_damage_are_in_the_order_of_what_they_save():
    plans = [carried_out(1.0, macs=0.1), carried_out(1.1, macs=0.5), carried_out(1.05, macs=0.3), carried_out(2.0)]
    assert [plan.damage for plan in about_equal(plans, ANALYSIS.cost, Budget())] == [1.1, 1.05, 1.0]


def test_a_cheap_proposal_may_do_what_counts_as_no_damage():
    """The first proposal goes on to what saves most, where all of it together does next to nothing."""
    values = {c.key: 1e-5 for c in ALL}
    first, bold = (
        next(planner(ALL, values, relus=RELUS * 4 // 5, macs=MACS, harmless=harmless).proposals())
        for harmless in (0.0, 0.01)
    )
    saved = [sum(c.macs for c in plan.candidates) for plan in (first, bold)]
    assert saved[0] < saved[1]


@pytest.mark.parametrize(("macs", "better"), [(-0.15, True), (-0.2, False)])
def test_layers_are_worth_multiply_adds_up_to_their_share(macs, better):
    assert kept(carried_out(1.0), carried_out(1.4, layers=1, macs=macs)) == better


@pytest.mark.parametrize(("exactness", "better"), [("exact", True), ("border", True), ("fitted", False)])
def test_multiply_adds_do_not_count_where_kernels_are_composed(exactness, better):
    assert kept(carried_out(1.0), carried_out(1.0, layers=1, macs=-3, exactness=exactness)) == better


def test_a_plan_that_was_not_measured_counts_with_its_prediction():
    guessed = Plan((SINGLES[0],), {SINGLES[0].key: 0.5})
    assert kept(guessed, carried_out(0.3)) == 1
    assert kept(guessed, carried_out(0.7)) == 0


# Depth.


@pytest.mark.parametrize("depth", [3, 4])
def test_a_plan_for_a_depth_leaves_a_network_of_that_depth(depth):
    model = residual()
    analysis = analyze(model)
    candidates = [c for action in (Fuse(), Linearize()) for c in action.find(analysis, FindOptions()).candidates]
    planner = Planner(analysis, candidates, {c.key: 0.1 for c in candidates}, Budget(depth=depth))
    plan = next(planner.proposals())
    statistics = statistics_of(analysis, calibration_of(feeds_of(model, 16)))
    assert analysis.cost.depth > depth
    assert apply_candidates(analysis, plan.candidates, statistics).analysis.cost.depth <= depth


def test_a_depth_out_of_reach_is_told():
    analysis = analyze(residual())
    candidates = Linearize().find(analysis, FindOptions()).candidates
    planner = Planner(analysis, candidates, {c.key: 0.1 for c in candidates}, Budget(depth=1))
    with pytest.raises(TargetError, match="a depth of 1 cannot be reached"):
        next(planner.proposals())


@pytest.mark.parametrize(
    ("relus", "goal"),
    [(10**6, "no mergers and leave an activation"), (100, "no mergers that reach 100 ReLUs .* and leave")],
)
def test_a_merger_that_takes_the_only_activation_is_none(relus, goal):
    analysis = analyze(chain())
    candidates = Fuse().find(analysis, FindOptions("exact")).candidates
    plans = Planner(analysis, candidates, {c.key: 0.0 for c in candidates}, Budget(relus, depth_saved=1)).proposals()
    with pytest.raises(TargetError, match=f"--kernel exact finds {goal}"):
        next(plans)


# Activations that stay in part.

MASKS = Mask().find(ANALYSIS, FindOptions(granularity="channel")).candidates


@pytest.mark.parametrize(
    ("options", "shallower"),
    [
        ({}, True),
        ({"granularity": "channel"}, False),
        ({"granularity": "pixel"}, False),
        ({"polynomials": True}, False),
        ({"kernel": "exact", "granularity": "channel"}, True),
    ],
)
def test_who_asks_for_activations_below_the_layer_gives_nothing_for_fewer_layers(options, shallower):
    budget = read_budget(Config(target_relus=0.5, **options), ANALYSIS)
    assert budget.shallower is shallower


def test_without_a_wish_for_fewer_layers_the_plan_of_least_damage_is_kept():
    fuse = next(c for c in ALL if c.depth > 0 and c.macs > 0)
    better, cheaper = Plan((SINGLES[0],), {}, 0.10), Plan((fuse,), {}, 0.105)
    assert about_equal([better, cheaper], ANALYSIS.cost, Budget()) == [cheaper]
    assert about_equal([better, cheaper], ANALYSIS.cost, Budget(shallower=False)) == [better]


def test_the_first_proposal_is_then_that_of_least_damage_too():
    fuse = next(c for c in ALL if c.depth > 0 and c.macs > 0 and c.sites == ("r1",))
    single = next(c for c in SINGLES if c.sites == ("r1",))
    values = {fuse.key: 0.11, single.key: 0.1}
    cheap, least = (
        next(planner([fuse, single], values, relus=RELUS * 4 // 5, shallower=on).proposals()) for on in (True, False)
    )
    assert (cheap.candidates, least.candidates) == ((fuse,), (single,))


def test_proposals_with_masks_reach_the_budget_with_one_mask_a_site():
    values = {c.key: 0.1 / (c.kept or 1) for c in MASKS}
    for plan in itertools.islice(planner(MASKS, values, relus=RELUS // 3, shallower=False).proposals(), 12):
        assert RELUS - saving(plan) <= RELUS // 3
        sites = [c.sites for c in plan.candidates]
        assert len(set(sites)) == len(sites)


def test_masks_reach_what_removals_cannot():
    values = {c.key: 0.1 for c in (*MASKS, *SINGLES)}
    with pytest.raises(TargetError):
        next(planner(SINGLES, {c.key: 0.1 for c in SINGLES}, relus=RELUS // 20).proposals())
    plan = next(planner([*MASKS, *SINGLES], values, relus=RELUS // 20, shallower=False).proposals())
    assert RELUS - saving(plan) <= RELUS // 20
