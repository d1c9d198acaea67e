import pytest
from pydantic import ValidationError

from onnxshallow.report.schema.part import Part


class Size(Part):
    pixels: int


def test_a_part_never_changes():
    size = Size(pixels=3)
    with pytest.raises(ValidationError, match="Instance is frozen"):
        size.pixels = 4
    assert size == Size(pixels=3) != Size(pixels=4)


def test_a_part_has_no_field_that_is_not_named():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Size(pixels=3, depth=1)
