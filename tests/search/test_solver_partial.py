"""Plans of activations that stay in part: each site has several candidates."""

import itertools
from dataclasses import replace

import numpy as np

from onnxshallow.actions.fuse import Merger
from onnxshallow.actions.partial import InPart
from onnxshallow.search.solver import Budget, conflicts
from tests.search.test_solver import damages, problem, remove


def in_part(name, size, *kept, squares=False):
    """Masks of a site of `size` ReLUs in ten channels, or parabolas."""
    return [
        InPart(
            "quadratic" if squares else "mask",
            (name,),
            f"{name}.in",
            f"{name}.out",
            relus=size // 10 * (10 - count),
            nodes=frozenset({name}),
            kept=count,
            squares=size // 10 * (10 - count) if squares else 0,
        )
        for count in kept
    ]


def test_of_the_masks_of_a_site_one_is_taken_at_most():
    masks = [*in_part("a", 50, 2, 5, 8), *in_part("b", 50, 2, 5, 8)]
    values = {c.key: 1.0 / (c.kept or 1) ** 2 for c in masks}
    task = problem(masks, sites=2, budget=Budget(relus=60))
    chosen = task.least_damage(values)
    assert len({c.sites for c in chosen}) == len(chosen) == 2
    assert sum(c.relus for c in chosen) >= 40
    assert [c.kept for c in chosen] == [5, 5] or sorted(c.kept for c in chosen) == [2, 8]


def test_the_masks_taken_are_the_best_of_all_sums_that_reach_the_budget():
    random = np.random.default_rng(3)
    masks = [c for name in "abc" for c in in_part(name, 40, 1, 3, 5, 7, 9)]
    values = {c.key: float(random.uniform(0.5, 1)) / (c.kept + 1) for c in masks}
    groups = [[None, *(c for c in masks if c.sites == (name,))] for name in "abc"]
    for target in (110, 80, 50, 20):
        sums = [
            sum(values[c.key] for c in chosen if c)
            for chosen in itertools.product(*groups)
            if 120 - sum(c.relus for c in chosen if c) <= target
        ]
        found = problem(masks, relus=120, sites=3, budget=Budget(relus=target)).least_damage(values)
        assert min(sums) - 1e-9 <= sum(values[c.key] for c in found) <= 1.002 * min(sums)


def test_sums_of_masks_that_are_nearly_alike_do_not_keep_the_solver_busy():
    """Without a tolerance, this takes more nodes than anyone waits for."""
    random = np.random.default_rng(0)
    masks = [c for site in range(30) for c in in_part(str(site), int(random.integers(80, 900)) * 10, 1, 3, 5, 7, 9)]
    values = {c.key: c.relus * float(random.uniform(0.95, 1)) for c in masks}
    task = problem(masks, relus=sum(c.relus * 10 // 9 for c in masks if c.kept == 1), sites=30)
    task = replace(task, budget=Budget(relus=int(0.6131 * task.relus)))
    chosen = task.least_damage(values)
    assert task.reached(chosen)
    assert len({c.sites for c in chosen}) == len(chosen)


def test_every_site_may_stay_in_part_though_one_always_stays_otherwise():
    masks = [c for name in "ab" for c in in_part(name, 50, 1)]
    whole = [remove("a", 50, nodes={"a"}), remove("b", 50, nodes={"b"})]
    values = damages([*masks, *whole], [0.5, 0.5, 0.1, 0.1])
    limit = Budget(relus=10)
    assert problem(masks, sites=2, budget=limit).least_damage(values) == tuple(masks)
    assert problem(whole, sites=2, budget=limit).least_damage(values) is None
    both = problem([*masks, *whole], sites=2, budget=limit)
    assert sorted(c.action for c in both.least_damage(values)) == ["linearize", "mask"]
    assert both.fewest("relus") == 5


def test_every_site_may_become_a_parabola():
    squares = [c for name in "ab" for c in in_part(name, 50, 0, squares=True)]
    task = problem(squares, sites=2, budget=Budget(relus=0))
    assert task.least_damage(damages(squares, [0.5, 0.5])) == tuple(squares)
    assert task.fewest("relus") == 0


def test_not_every_site_may_keep_nothing():
    masks = [c for name in "ab" for c in in_part(name, 50, 0)]
    assert [c.removed for c in masks] == [1, 1]
    assert problem(masks, sites=2, budget=Budget(relus=0)).least_damage(damages(masks, [0.5, 0.5])) is None


def test_a_mask_and_the_removal_of_its_site_exclude_each_other():
    masks, whole = in_part("a", 50, 2), remove("a", 50, nodes={"a"})
    assert conflicts([*masks, whole]) == [(0, 1)]


def test_a_merger_and_a_mask_after_it_go_together():
    """Unlike the removal, the mask leaves an activation that no larger merger could take in."""
    merger = Merger("fuse", ("m",), "x", "a.in", kernel=(3, 3), nodes=frozenset({1}))
    larger = Merger("fuse", ("m", "a"), "x", "a.out", kernel=(3, 3), nodes=frozenset({1, "a"}))
    whole, (mask,) = remove("a", 50, nodes={"a"}), in_part("a", 50, 0)
    found = conflicts([merger, larger, whole, mask])
    assert (0, 2) in found
    assert (0, 3) not in found
