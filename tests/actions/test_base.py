from dataclasses import dataclass, replace

import pytest

from onnxshallow.actions.base import Candidate, FindOptions
from onnxshallow.actions.decompose import Split
from onnxshallow.actions.fuse import Merger
from onnxshallow.actions.linearize import Removal
from onnxshallow.actions.partial import InPart
from onnxshallow.analysis import analyze
from onnxshallow.search.candidates import find_candidates
from tests.networks import chain, residual

PLACE = {"sites": ("r",), "source": "x", "output": "y"}


@dataclass(frozen=True, kw_only=True)
class Rounded(Candidate):
    """A candidate as another package may have it."""

    bits: int
    steps: tuple[int, ...] = (1, 2)


ROUNDED = Rounded("round", **PLACE, bits=4)


def merger(*kernel, exactness="fitted"):
    return Merger("fuse", **PLACE, kernel=kernel, exactness=exactness)


def part(kept, **values):
    return InPart("mask", **PLACE, kept=kept, **values)


SPLIT = Split("decompose", **{**PLACE, "sites": ()}, rank=4)
REMOVAL = Removal("linearize", **PLACE)

AFFINE, QUADRATIC = "affine map", "quadratic"
REPLACED = "replaced by the least-squares {} of its channels"
KEEPS = "keeps the activation of {}; the others are replaced by their least-squares {}s"
BECAME = "the layers from 'x' to 'y' became one {} convolution, {}"
TOLD = {
    "a split": (
        SPLIT,
        "split in two, 4 channels between",
        "the layer that makes 'y' became two, with 4 channels between them",
    ),
    "a removal": (REMOVAL, "removed: an affine map", REPLACED.format(AFFINE)),
    "a fitted merger": (
        merger(3, 3), "one 3×3 convolution, fitted", BECAME.format("3x3", "fitted to calibration activations")
    ),
    "an exact merger": (
        merger(5, 5, exactness="exact"), "one 5×5 convolution, exact", BECAME.format("5x5", "composed exactly")
    ),
    "a composed merger": (
        merger(5, 5, exactness="border"),
        "one 5×5 convolution, exact but for the border",
        BECAME.format("5x5", "composed; exact except where padding reaches in from the border"),
    ),
    "a merger of linear layers": (
        merger(), "one linear layer, fitted", BECAME.format("single", "fitted to calibration activations")
    ),
    "kept channels": (part(12), "12 channels kept, the others affine", KEEPS.format("12 channels", AFFINE)),
    "one kept element": (
        part(1, pixels=True), "1 element kept, the others affine", KEEPS.format("1 element", AFFINE)
    ),
    "channels beside parabolas": (
        part(3, squares=9), "3 channels kept, the others quadratic", KEEPS.format("3 channels", QUADRATIC)
    ),
    "nothing kept": (part(0), "removed: an affine map", REPLACED.format(AFFINE)),
    "parabolas alone": (part(0, squares=4), "removed: a quadratic map", REPLACED.format(QUADRATIC)),
}  # fmt: skip


@pytest.mark.parametrize(("candidate", "short", "what"), TOLD.values(), ids=TOLD)
def test_a_change_is_told_in_a_few_words_and_in_a_sentence(candidate, short, what):
    assert (candidate.short, candidate.what) == (short, what)


@pytest.mark.parametrize(
    ("candidate", "key"),
    [
        (SPLIT, "decompose:rank4:x->y"),
        (REMOVAL, "linearize:x->y"),
        (merger(3, 3), "fuse:3x3:x->y"),
        (merger(), "fuse::x->y"),
        (merger(5, exactness="border"), "fuse:5:border:x->y"),
        (part(8), "mask:kept8:x->y"),
        (part(0, squares=3), "mask:kept0:x->y"),
        (part(8, pixels=True), "mask:kept8pixels:x->y"),
        (ROUNDED, "round:bits4:steps1x2:x->y"),
        (Candidate("bypass", **PLACE), "bypass:x->y"),
    ],
)
def test_keys_stay_what_caches_and_plans_know(candidate, key):
    assert candidate.key == key


def test_the_fields_that_a_class_adds_are_its_variant():
    assert ROUNDED.variant == {"bits": 4, "steps": [1, 2]}
    assert Candidate("bypass", **PLACE).variant == REMOVAL.variant == {}
    assert part(3, pixels=True).variant == {"kept": 3, "pixels": True}


def test_reports_say_of_what_so_many_are_kept():
    assert part(3).reported == {"kept": 3, "kept_unit": "channels"}
    assert part(3, pixels=True).reported == {"kept": 3, "kept_unit": "elements"}
    assert ROUNDED.reported == ROUNDED.variant


def test_tables_say_how_much_is_kept():
    assert [c.title for c in (part(1200), part(0), SPLIT)] == [
        "mask, keeps 1 200",
        "mask",
        "decompose: 4 channels between",
    ]


def test_variants_share_their_place_and_actions_do_not():
    assert ROUNDED.place == replace(ROUNDED, bits=8).place == "round:x->y"
    assert len({c.place for c in (ROUNDED, REMOVAL, merger(3), merger(5))}) == 3


@pytest.mark.parametrize(
    ("candidate", "whole", "removed"),
    [(REMOVAL, True, 1), (merger(3), True, 1), (part(0), True, 1), (part(2), False, 0), (SPLIT, True, 0),
     (part(0, squares=3), True, 0), (replace(merger(3), sites=("a", "b")), True, 2)],
)  # fmt: skip
def test_a_site_is_removed_where_nothing_nonlinear_stays(candidate, whole, removed):
    assert (candidate.whole, candidate.removed) == (whole, removed)


def test_only_masks_of_pixels_tell_elements_apart():
    assert [c.by_element for c in (part(3, pixels=True), part(3), REMOVAL, ROUNDED)] == [True, False, False, False]


def test_layers_that_are_left_are_counted_where_some_are_replaced():
    assert [c.layers for c in (merger(3), SPLIT, REMOVAL, part(2))] == [1, 2, None, None]


def test_candidates_of_more_capacity_are_expected_to_do_less_damage():
    for smaller, larger in (
        (merger(1, 1), merger(3, 3)),
        (merger(3), merger(3, 3)),
        (SPLIT, replace(SPLIT, rank=5)),
        (part(1, relus=70), part(2, relus=60)),
    ):
        assert smaller.capacity < larger.capacity
        assert larger.power(smaller) > 0


# What the candidates of all actions have in common.

OPTIONS = (
    FindOptions(),
    FindOptions("exact"),
    FindOptions(deeper=True, every_size=True, granularity="channel", polynomials=True),
    FindOptions(granularity="pixel"),
)


@pytest.fixture(scope="module", params=[chain, residual], ids=["a chain", "residual blocks"])
def found(request):
    """All candidates of a network, of all options, each once."""
    analysis = analyze(request.param())
    return analysis, list({c for options in OPTIONS for c in find_candidates(analysis, options)[0]})


def test_no_two_candidates_have_one_key(found):
    _, candidates = found
    assert len({c.key for c in candidates}) == len(candidates) > 20


def test_candidates_at_one_place_exclude_each_other(found):
    _, candidates = found
    for one in candidates:
        for other in candidates:
            if one.place == other.place:
                assert one.nodes & other.nodes


def test_a_key_says_the_place(found):
    analysis, candidates = found
    for candidate in candidates:
        assert candidate.key.startswith(candidate.action)
        assert candidate.key.endswith(f":{candidate.source}->{candidate.output}")
        assert analysis.network.producer(candidate.output) is not None


def test_what_is_saved_is_no_more_than_there_is(found):
    analysis, candidates = found
    for candidate in candidates:
        sites = [analysis.site_by_name[name] for name in candidate.sites]
        assert 0 <= candidate.relus <= sum(site.size for site in sites)
        assert candidate.removed in (0, len(sites))
