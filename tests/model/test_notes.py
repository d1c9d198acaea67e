import pytest

from onnxshallow.model.notes import arrays_of, notes_of, with_arrays, with_notes
from tests.networks import build


def noted(**notes):
    model = build("(float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    model.metadata_props.add(key="license", value="none")
    return with_notes(model, notes)


def test_notes_stand_beside_other_metadata():
    model = noted(a="1", b="2")
    assert notes_of(model) == {"a": "1", "b": "2"}
    assert [entry.key for entry in model.metadata_props] == ["license", "onnxshallow.a", "onnxshallow.b"]


def test_a_note_takes_the_place_of_another_and_none_takes_it_away():
    model = noted(a="1", b="2")
    assert notes_of(with_notes(model, {"a": "3"})) == {"a": "3", "b": "2"}
    assert notes_of(with_notes(model, {"a": None})) == {"b": "2"}
    assert notes_of(model) == {"a": "1", "b": "2"}


def test_a_model_that_says_it_already_is_the_same():
    model = noted(a="1")
    assert with_notes(model, {"a": "1", "gone": None}) is model


def test_numbers_are_noted_by_tensor():
    model = with_arrays(noted(), "sizes", {"y": [1, 2]})
    assert notes_of(model) == {"sizes": '{"y":[1,2]}'}
    assert arrays_of(model, "sizes")["y"].tolist() == [1, 2]
    assert notes_of(with_arrays(model, "sizes", {})) == {}


@pytest.mark.parametrize("text", ["nonsense", "[1]", '{"y": [[0], [1, 2]]}', "[" * 100_000])
def test_numbers_that_cannot_be_read_are_none(text):
    assert arrays_of(noted(sizes=text), "sizes") == {}
