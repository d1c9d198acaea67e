import json
from dataclasses import dataclass, replace

import pytest

from onnxshallow.actions import registry
from onnxshallow.actions.base import Candidate, Thinned
from onnxshallow.actions.decompose import Split
from onnxshallow.actions.fuse import Merger
from onnxshallow.actions.linearize import Linearize, Removal
from onnxshallow.actions.partial import InPart
from onnxshallow.actions.prune import Narrow
from onnxshallow.errors import ModelError, UsageError
from onnxshallow.search.plan import Plan, load_plan, plan_to_json, save_plan

FUSE = Merger("fuse", ("a", "b"), "x", "y", kernel=(3, 3), relus=10, macs=20, depth=1, nodes=frozenset({1, 2}))
EXACT = Merger("fuse", ("a", "b"), "x", "y", "exact", kernel=(5, 5), nodes=frozenset({1, 2}))
GEMM = Merger("fuse", ("g",), "p", "q", kernel=(), nodes=frozenset({7}))
SINGLE = Removal("linearize", ("c",), "z", "w", relus=5, nodes=frozenset({4}))
AVAILABLE = [FUSE, EXACT, GEMM, SINGLE]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def entry(candidate, **changes):
    return {**plan_to_json(Plan((candidate,), {}), "")["actions"][0], **changes}


def test_a_saved_plan_is_loaded_as_it_was(tmp_path):
    plan = Plan((FUSE, GEMM, SINGLE), {FUSE.key: 0.25, SINGLE.key: 0.5})
    save_plan(plan, "abc", tmp_path / "plan.json")
    loaded = load_plan(tmp_path / "plan.json", AVAILABLE)
    assert loaded == plan


@pytest.mark.parametrize(("given", "warned"), [("abc", False), (None, False), ("def", True)])
def test_a_plan_for_another_file_is_warned_of(tmp_path, caplog, given, warned):
    save_plan(Plan((FUSE,), {}), "abc", tmp_path / "plan.json")
    load_plan(tmp_path / "plan.json", AVAILABLE, given)
    assert ("made for another model file" in caplog.text) == warned


def test_the_file_names_the_model_and_what_is_saved():
    content = plan_to_json(Plan((SINGLE,), {SINGLE.key: 0.5}, 0.75), "abc")
    assert content["model_sha256"] == "abc"
    assert content["damage"] == 0.75
    assert content["actions"] == [
        {
            "action": "linearize",
            "sites": ["c"],
            "source": "z",
            "output": "w",
            "kernel": None,
            "rank": None,
            "kept": None,
            "pixels": False,
            "exactness": "fitted",
            "relus_saved": 5,
            "macs_saved": 0,
            "squares_added": 0,
            "damage": 0.5,
        }
    ]


def test_kernel_and_exactness_tell_candidates_of_one_place_apart(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(EXACT)]})
    assert load_plan(path, AVAILABLE).candidates == (EXACT,)


def test_what_else_an_entry_says_is_recomputed(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(FUSE, relus_saved=999)]})
    assert load_plan(path, AVAILABLE).candidates == (FUSE,)


def test_sites_that_do_not_lie_at_the_place_are_an_error(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(FUSE, sites=["nonsense"])]})
    with pytest.raises(UsageError, match=r"Entry 0 of .* names the sites nonsense, but .* enclose a, b"):
        load_plan(path, AVAILABLE)


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"actions": [{"action": "fuse", "output": "y"}]}', "entry 0 has no 'source'"), ("{}", "it has no 'actions'"),
     ('{"actions": [', "line 1 column 14")],
)  # fmt: skip
def test_what_is_wrong_with_a_plan_is_told_in_words(tmp_path, text, words):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_plan(path, AVAILABLE)
    assert words in str(caught.value)
    assert "Error(" not in str(caught.value)


def test_a_plan_written_by_hand_needs_the_place_only(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [{"action": "linearize", "source": "z", "output": "w"}]})
    loaded = load_plan(path, AVAILABLE)
    assert loaded.candidates == (SINGLE,)
    assert loaded.damages == {}


def test_an_empty_plan_is_a_plan(tmp_path):
    assert load_plan(write(tmp_path / "plan.json", {"actions": []}), AVAILABLE).candidates == ()


def test_the_predicted_damage_is_the_sum():
    assert Plan((FUSE, SINGLE), {FUSE.key: 0.25, SINGLE.key: 0.5}).predicted == 0.75


BAD = {
    "no JSON": "nonsense",
    "truncated": '{"actions": [',
    "a list": [],
    "no actions": {},
    "actions that are a number": {"actions": 5},
    "an entry without a place": {"actions": [{"action": "fuse"}]},
    "a kernel that is no list": {"actions": [entry(FUSE, kernel=3)]},
    "a kernel of words": {"actions": [entry(FUSE, kernel=["three", "three"])]},
    "an entry that is a word": {"actions": ["fuse"]},
    "a damage that is a word": {"actions": [entry(FUSE, damage="high")]},
}


@pytest.mark.parametrize(
    "content",
    BAD.values(),
    ids=BAD,
)
def test_a_file_that_is_no_plan_is_a_usage_error_of_one_sentence(tmp_path, content):
    path = write(tmp_path / "plan.json", content)
    with pytest.raises(UsageError) as caught:
        load_plan(path, AVAILABLE)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="Cannot read the plan"):
        load_plan(tmp_path / "none.json", AVAILABLE)


def test_a_file_that_is_no_text_is_a_usage_error(tmp_path):
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError):
        load_plan(tmp_path / "plan.json", AVAILABLE)


def test_an_entry_that_is_not_possible_is_named(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(SINGLE), entry(SINGLE, output="elsewhere")]})
    with pytest.raises(UsageError, match=r"Entry 1 .*linearize:z->elsewhere.* is not possible"):
        load_plan(path, AVAILABLE)


def test_entries_that_change_the_same_nodes_are_refused(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(FUSE), entry(EXACT)]})
    with pytest.raises(UsageError, match="change the same nodes"):
        load_plan(path, AVAILABLE)


def test_a_folder_that_does_not_exist_cannot_be_written_to(tmp_path):
    with pytest.raises(ModelError, match="Cannot write"):
        save_plan(Plan((), {}), "abc", tmp_path / "none" / "plan.json")


# Layers split in two.

SPLIT = Split("decompose", (), "p", "q", macs=100, depth=-1, nodes=frozenset({3}), rank=8)
NARROWER = Split("decompose", (), "p", "q", macs=200, depth=-1, nodes=frozenset({3}), rank=4)


def test_a_rank_is_saved_and_loaded_as_it_was(tmp_path):
    plan = Plan((SPLIT, FUSE), {SPLIT.key: 0.125, FUSE.key: 0.25})
    save_plan(plan, "abc", tmp_path / "plan.json")
    loaded = load_plan(tmp_path / "plan.json", [FUSE, SINGLE, NARROWER, SPLIT])
    assert loaded == plan
    assert loaded.candidates[0].rank == 8
    assert loaded.predicted == 0.375


def test_an_entry_names_its_rank_where_there_is_one():
    entries = plan_to_json(Plan((SPLIT, FUSE), {}), "")["actions"]
    assert [entry["rank"] for entry in entries] == [8, None]
    assert (entries[0]["kernel"], entries[0]["sites"]) == (None, [])
    assert (entries[0]["relus_saved"], entries[0]["macs_saved"]) == (0, 100)


@pytest.mark.parametrize("candidate", [SPLIT, NARROWER])
def test_the_rank_tells_candidates_of_one_place_apart(tmp_path, candidate):
    path = write(tmp_path / "plan.json", {"actions": [entry(candidate)]})
    assert load_plan(path, [SPLIT, NARROWER]).candidates == (candidate,)


def test_a_split_written_by_hand_needs_the_place_and_the_rank(tmp_path):
    content = {"action": "decompose", "source": "p", "output": "q", "rank": 4}
    path = write(tmp_path / "plan.json", {"actions": [content]})
    assert load_plan(path, [SPLIT, NARROWER]).candidates == (NARROWER,)


@pytest.mark.parametrize("rank", [5, None])
def test_a_rank_that_is_not_offered_is_named(tmp_path, rank):
    path = write(tmp_path / "plan.json", {"actions": [entry(SPLIT, rank=rank)]})
    name = "decompose:p->q" if rank is None else f"decompose:rank{rank}:p->q"
    with pytest.raises(UsageError, match=f"{name}.* is not possible"):
        load_plan(path, [SPLIT, NARROWER])


@pytest.mark.parametrize("rank", ["eight", [8], {}, float("inf")])
def test_a_rank_that_is_no_number_is_a_usage_error(tmp_path, rank):
    path = write(tmp_path / "plan.json", {"actions": [entry(SPLIT, rank=rank)]})
    with pytest.raises(UsageError, match="is not a plan"):
        load_plan(path, [SPLIT, NARROWER])


@pytest.mark.parametrize(
    ("candidate", "name", "value"),
    [(FUSE, "kernel", [float(size) for size in FUSE.kernel]), (FUSE, "kernel", [str(size) for size in FUSE.kernel]),
     (SPLIT, "rank", float(SPLIT.rank)), (SPLIT, "rank", str(SPLIT.rank)), (SINGLE, "pixels", True)],
)  # fmt: skip
def test_numbers_as_other_programs_write_them_are_read(tmp_path, candidate, name, value):
    path = write(tmp_path / "plan.json", {"actions": [entry(candidate, **{name: value})]})
    assert load_plan(path, [*AVAILABLE, SPLIT]).candidates == (candidate,)


@pytest.mark.parametrize(
    ("candidate", "name", "value"),
    [(SINGLE, "kept", 4), (SINGLE, "kernel", [3, 3]), (FUSE, "rank", 8)],
)
def test_what_another_action_is_told_by_is_not_passed_over(tmp_path, candidate, name, value):
    path = write(tmp_path / "plan.json", {"actions": [entry(candidate, **{name: value})]})
    with pytest.raises(UsageError, match="is not possible on this model"):
        load_plan(path, [*AVAILABLE, SPLIT])


@pytest.mark.parametrize("name", ["source", "exactness"])
def test_text_that_is_no_text_is_no_place(tmp_path, name):
    path = write(tmp_path / "plan.json", {"actions": [entry(SINGLE, **{name: "h\ud800"})]})
    with pytest.raises(UsageError, match="is not possible on this model"):
        load_plan(path, AVAILABLE)


@pytest.mark.parametrize("thing", ["abc", [1], 3, None])
def test_an_entry_that_is_no_object_has_no_action(tmp_path, thing):
    path = write(tmp_path / "plan.json", {"actions": [thing]})
    with pytest.raises(UsageError, match="entry 0 has no 'action'"):
        load_plan(path, AVAILABLE)


@dataclass(frozen=True, kw_only=True)
class Rounded(Candidate):
    """A candidate as another package may have it."""

    bits: int
    steps: tuple[int, ...] = ()


class Round(Linearize):
    name = "round"
    candidate_class = Rounded


@pytest.fixture
def rounding(monkeypatch):
    """An action of another package."""
    monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, Round()))
    registry.actions.cache_clear()
    yield [Rounded("round", (), "x", "y", bits=bits, steps=(1, bits)) for bits in (2, 4)]
    registry.actions.cache_clear()


def test_the_variants_of_other_actions_come_after_those_that_every_entry_names(rounding):
    names = list(entry(rounding[0]))
    assert names[4:11] == ["kernel", "rank", "kept", "pixels", "bits", "steps", "exactness"]


def test_they_tell_candidates_of_one_place_apart(tmp_path, rounding):
    for candidate in rounding:
        save_plan(Plan((candidate,), {}), "abc", tmp_path / "plan.json")
        assert load_plan(tmp_path / "plan.json", rounding).candidates == (candidate,)


def test_what_they_leave_out_is_the_default(tmp_path, rounding):
    short = {name: value for name, value in entry(rounding[0]).items() if name != "steps"}
    path = write(tmp_path / "plan.json", {"actions": [short]})
    plain = replace(rounding[0], steps=())
    assert load_plan(path, [*rounding, plain]).candidates == (plain,)
    path = write(tmp_path / "plan.json", {"actions": [{**short, "bits": None}]})
    with pytest.raises(UsageError, match="is not possible on this model"):
        load_plan(path, [*rounding, plain])


def test_an_action_that_is_not_known_is_not_possible(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(SINGLE, action="sharpen")]})
    with pytest.raises(UsageError, match=r"Entry 0 .*sharpen:z->w.* is not possible"):
        load_plan(path, AVAILABLE)


def test_a_plan_from_before_there_were_ranks_is_still_read(tmp_path):
    earlier = {name: value for name, value in entry(FUSE).items() if name != "rank"}
    path = write(tmp_path / "plan.json", {"actions": [earlier]})
    assert load_plan(path, AVAILABLE).candidates == (FUSE,)


def test_two_ranks_of_one_layer_exclude_each_other(tmp_path):
    path = write(tmp_path / "plan.json", {"actions": [entry(SPLIT), entry(NARROWER)]})
    with pytest.raises(UsageError, match="change the same nodes"):
        load_plan(path, [SPLIT, NARROWER])


MASKS = [InPart("mask", ("c",), "z", "w", relus=10 - kept, nodes=frozenset({4}), kept=kept) for kept in (2, 4)]
SQUARE = InPart("quadratic", ("c",), "z", "w", relus=5, nodes=frozenset({4}), squares=5, kept=2)


@pytest.mark.parametrize("candidate", [*MASKS, SQUARE])
def test_what_a_site_keeps_tells_candidates_of_one_place_apart(tmp_path, candidate):
    save_plan(Plan((candidate,), {candidate.key: 0.5}), "abc", tmp_path / "plan.json")
    found = load_plan(tmp_path / "plan.json", [SINGLE, *MASKS, SQUARE])
    assert found.candidates == (candidate,)
    assert found.damages == {candidate.key: 0.5}


def test_what_is_kept_is_part_of_the_key_but_not_of_the_place():
    assert [mask.key for mask in MASKS] == ["mask:kept2:z->w", "mask:kept4:z->w"]
    assert len({mask.place for mask in MASKS}) == 1


def test_an_entry_says_what_is_kept_and_how_many_squares_it_adds():
    assert (entry(SQUARE)["kept"], entry(SQUARE)["squares_added"]) == (2, 5)


@pytest.mark.parametrize("kept", ["some", "3", 1.5, True, [3], {"a": 1}])
def test_a_kept_count_that_is_no_whole_number_is_a_usage_error(tmp_path, kept):
    with pytest.raises(UsageError, match="is not a plan written by onnxshallow"):
        load_plan(write(tmp_path / "plan.json", {"actions": [entry(MASKS[0], kept=kept)]}), MASKS)


def narrow(kept, node=9, ends=()):
    thinned = tuple(Thinned(frozenset({end}), 0.5, 100, 10, 40) for end in ends)
    return Narrow("prune", ("n",), "u", f"v{node}", nodes=frozenset({node}), thinned=thinned, kept=kept, width=16)


def test_a_plan_says_how_many_channels_stay(tmp_path):
    save_plan(Plan((narrow(8),), {}), "abc", tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json", [narrow(4), narrow(8)]).candidates == (narrow(8),)


def test_layers_that_become_narrower_at_both_ends_fit_together_and_replaced_ones_do_not(tmp_path):
    first, second = narrow(8, ends=(1, 2)), narrow(8, node=10, ends=(2, 3))
    save_plan(Plan((first, second), {}), "abc", tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json", [first, second]).candidates == (first, second)
    save_plan(Plan((first, FUSE), {}), "abc", tmp_path / "plan.json")
    with pytest.raises(UsageError, match="change the same nodes"):
        load_plan(tmp_path / "plan.json", [first, FUSE])
