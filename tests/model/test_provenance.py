import pytest

from onnxshallow.model.notes import notes_of, with_notes
from onnxshallow.model.provenance import Provenance, note_bytes, provenance_of, with_provenance
from tests.networks import build

MADE = Provenance("1.2", "a" * 64, "b" * 64, {"r1": "became 'nothing'", "é": "stayed"}, "3 of 5 steps")


def plain():
    return build("(float[N,2] x) => (float[N,2] y) { y = Relu(x) }")


def test_a_model_tells_how_it_came_to_be():
    model = with_provenance(plain(), MADE)
    assert provenance_of(model) == MADE
    assert set(notes_of(model)) == {"version", "input_sha256", "plan_sha256", "nodes", "training"}


def test_other_notes_stay_and_what_no_longer_holds_goes():
    model = with_notes(with_provenance(plain(), MADE), {"scales": "{}"})
    again = with_provenance(model, Provenance("1.3", "c" * 64, "d" * 64))
    assert provenance_of(again) == Provenance("1.3", "c" * 64, "d" * 64)
    assert notes_of(again)["scales"] == "{}"
    assert notes_of(with_provenance(again, None)) == {"scales": "{}"}


def test_nothing_is_read_where_nothing_is_said():
    assert provenance_of(plain()) is None


@pytest.mark.parametrize("nodes", ["", "[]", "3", "{", "[" * 100_000])
def test_what_cannot_be_read_counts_as_nothing(nodes):
    assert provenance_of(with_notes(with_provenance(plain(), MADE), {"nodes": nodes})) is None


def test_notes_take_no_more_bytes_than_was_said():
    grown = with_provenance(plain(), MADE).ByteSize() - plain().ByteSize()
    assert grown <= note_bytes(MADE.nodes) <= grown + 100
    assert note_bytes({}) < note_bytes({"conv": "gone"}) < note_bytes({"conv": "gone for good"})
