import re

import pytest
from pydantic import ValidationError

from onnxshallow.report.schema import sections
from onnxshallow.report.schema.sections import PartingReport
from onnxshallow.validation.parting import TensorDifference, first_beyond


def parts():
    """Every part that reports are made of."""
    found = [value for value in vars(sections).values() if isinstance(value, type)]
    return [value for value in found if issubclass(value, sections.Part) and value is not sections.Part]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_part_is_described_and_says_what_its_fields_are(part):
    assert part.__doc__
    assert part.model_json_schema()["properties"]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_no_part_takes_what_it_does_not_know_or_lets_itself_be_changed(part):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        part.model_validate({"nonsense": 1})
    with pytest.raises(ValidationError, match="Instance is frozen"):
        part.model_construct().nonsense = 1


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([0.5, 0.5], "They part at 't0', .* it is the first of all."),
        ([0.0, 0.5], "They part at 't1', .*; 1 before it is not."),
        ([0.0, 0.0, 0.5], "They part at 't2', .*; 2 before it are not."),
        ([0.0], "None of 1 tensors that both make is off by more than 0.001."),
        ([], "The networks have no tensor of one name and shape inside, so it cannot be said where they part."),
    ],
)
def test_where_networks_part_is_told_in_a_sentence(errors, words):
    tensors = tuple(TensorDifference(f"t{place}", "Conv", f"n{place}", error) for place, error in enumerate(errors))
    first = first_beyond(tensors, 1e-3)
    told = PartingReport(samples=8, tolerance=1e-3, tensors=tensors, first=first).in_words
    assert re.fullmatch(words, told)
