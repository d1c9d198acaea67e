import pytest
from pydantic import ValidationError

from onnxshallow.report.schema import sections


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
