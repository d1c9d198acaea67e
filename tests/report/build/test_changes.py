from dataclasses import dataclass, replace

import pytest

from onnxshallow.actions.base import Candidate
from onnxshallow.actions.partial import InPart
from onnxshallow.analysis import analyze
from onnxshallow.report.build.changes import change_reports, decisions, plan_points
from onnxshallow.search.plan import Plan
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from tests.networks import build


def test_what_happened_to_each_site_is_said_in_words(inputs, candidates):
    chosen = (candidates["fuse:5x5:border:x->h1"], candidates["linearize:h2->r2"])
    found = decisions(inputs.analysis, Plan(chosen, {"linearize:h2->r2": 0.25}))
    assert [(d.name, d.action, d.exactness) for d in found] == [
        ("r0", "fuse", "border"),
        ("r1", "keep", None),
        ("r2", "linearize", "fitted"),
    ]
    assert (found[0].kernel, found[0].merged_into, found[0].damage) == ([5, 5], "h1", None)
    assert (found[2].kernel, found[2].merged_into, found[2].damage) == (None, None, 0.25)
    assert "5x5 convolution, composed; exact except" in found[0].reason
    assert found[1].reason == "not part of the plan"
    assert "affine map" in found[2].reason


def test_a_fitted_merger_says_so(inputs, candidates):
    found = decisions(inputs.analysis, Plan((candidates["fuse:3x3:x->h1"],), {}))
    assert "3x3 convolution, fitted" in found[0].reason


def test_a_site_that_must_stay_says_why():
    (decision,) = decisions(analyze(build("(float[N] x) => (float[N] y) { y = Relu(x) }")), Plan((), {}))
    assert (decision.action, decision.reason) == ("keep", "cannot be removed: it has no channel axis")


def test_the_least_damage_of_removing_a_site_alone_is_its_sensitivity(inputs, candidates):
    damages = {"linearize:h1->r1": 0.5, "fuse:3x3:x->h1": 0.25, "linearize:h0->r0": 0.75}
    measured = MeasuredDamages(tuple(candidates.values()), {}, damages)
    found = decisions(inputs.analysis, Plan((), {}), measured)
    assert [decision.least_damage for decision in found] == [0.25, 0.5, None]


def test_every_change_is_listed_also_one_that_removes_no_site(inputs, candidates):
    split = next(c for c in candidates.values() if c.kind == "split")
    merged = candidates["fuse:3x3:x->h1"]
    found = change_reports(Plan((split, merged), {merged.key: 0.5}))
    assert [(change.key, change.damage, change.sites) for change in found] == [
        (split.key, None, []),
        (merged.key, 0.5, ["r0"]),
    ]
    assert found[0].what.endswith(" between them")
    assert str(split.form.between) in found[0].what
    assert (found[0].rank, found[0].groups, found[0].taps) == (split.rank, split.groups, split.taps)
    assert (found[0].weight_error, found[1].weight_error) == (split.error, None)
    assert found[1].relus_saved == merged.relus > 0


@pytest.fixture(scope="module")
def partial(candidates):
    """A candidate that keeps three channels of a site."""
    removal = candidates["linearize:h1->r1"]
    return InPart("mask", removal.sites, "h1", "r1", relus=removal.relus // 2, nodes=removal.nodes, kept=3)


def test_a_site_that_stays_in_part_says_how_much_of_it_does(inputs, partial):
    (change,) = change_reports(Plan((partial,), {partial.key: 0.5}))
    decision = decisions(inputs.analysis, Plan((partial,), {partial.key: 0.5}))[1]
    for found, words in ((decision, decision.reason), (change, change.what)):
        assert (found.action, found.kept, found.kept_unit, found.squares) == ("mask", 3, "channels", 0)
        assert found.damage == 0.5
        assert (
            words == "keeps the activation of 3 channels; the others are replaced by their least-squares affine maps"
        )


def test_kept_elements_are_told_from_kept_channels(inputs, partial):
    size = inputs.analysis.site_by_name["r1"].size
    (change,) = change_reports(Plan((replace(partial, kept=1, pixels=True, relus=size - 1),), {}))
    assert (change.kept, change.kept_unit) == (1, "elements")
    assert change.what.startswith("keeps the activation of 1 element;")


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (3, "keeps the activation of 3 channels; the others are replaced by their least-squares quadratics"),
        (0, "replaced by the least-squares quadratic of its channels"),
    ],
)
def test_squares_make_a_quadratic(inputs, partial, kept, words):
    changed = replace(partial, action="quadratic", squares=20, kept=kept)
    decision = decisions(inputs.analysis, Plan((changed,), {}))[1]
    assert (decision.action, decision.squares, decision.reason) == ("quadratic", 20, words)


@dataclass(frozen=True, kw_only=True)
class Rounded(Candidate):
    """A change as another package may make it."""

    bits: int
    rank: int

    @property
    def what(self):
        return f"rounded to {self.bits} bits"


def test_actions_of_other_packages_have_their_own_words_and_variants(inputs):
    rounded = Rounded("round", ("r1",), "h1", "r1", bits=4, rank=2)
    (change,), decision = change_reports(Plan((rounded,), {})), decisions(inputs.analysis, Plan((rounded,), {}))[1]
    assert change.what == change.short == decision.reason == "rounded to 4 bits"
    assert change.title == change.action == decision.action == "round"
    for found in (change, decision):
        assert (found.variant, found.rank, found.kernel, found.kept) == ({"bits": 4}, 2, None, None)


def test_keeping_a_site_in_part_is_not_removing_it(inputs, partial):
    measured = MeasuredDamages((partial,), {}, {partial.key: 0.125})
    assert [d.least_damage for d in decisions(inputs.analysis, Plan((), {}), measured)] == [None, None, None]


def test_plans_come_in_the_order_of_what_they_keep(inputs, candidates):
    cost = inputs.analysis.cost
    small = Plan((candidates["linearize:h2->r2"],), {}, 0.1)
    large = Plan((candidates["linearize:h2->r2"], candidates["linearize:h1->r1"]), {"linearize:h1->r1": 0.5}, 0.2)
    points = plan_points(cost, [large, small, small], large)
    assert [(point.damage, point.predicted, point.chosen) for point in points] == [
        (0.1, None, False),
        (0.2, 0.5, True),
    ]
    assert points[0].relus > points[1].relus == cost.relus - sum(c.relus for c in large.candidates)
