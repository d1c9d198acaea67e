from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from onnxshallow.options.flags import FITTING, MACHINE, Flag, Option


class Sample(BaseModel):
    size: Annotated[Annotated[int, Field(gt=0)] | None, Flag("How many.", default="all")] = None
    share: Annotated[float, Field(gt=0), Flag("How much.", metavar="X")] = 255.0
    form: Annotated[Literal["split", "prelu"] | None, Flag("How.")] = None
    order: Annotated[Literal["rgb", "bgr"], Flag("In which order.")] = "rgb"
    shapes: Annotated[dict[str, tuple[int, ...]] | None, Flag("Sizes.", metavar="NAME:1")] = None
    target: Annotated[float | str | None, Flag("How far.", metavar="SHARE")] = None
    source: Annotated[Any, Field(alias="from"), Flag("Where from.", metavar="DATA")] = None
    more: Annotated[bool, Flag("More.")] = False
    fit: Annotated[bool, Flag("Fit.", negative="Do not fit.")] = True


OPTIONS = {name: Option.from_field(name, field) for name, field in Sample.model_fields.items()}


@pytest.mark.parametrize(
    ("name", "kind", "metavar", "said"),
    [
        ("size", int, "N", "How many [default: all]."),
        ("share", float, "X", "How much [default: 255]."),
        ("form", str, "split|prelu", "How."),
        ("order", str, "rgb|bgr", "In which order [default: rgb]."),
        ("shapes", dict, "NAME:1", "Sizes."),
        ("target", str, "SHARE", "How far."),
        ("source", str, "DATA", "Where from."),
        ("more", bool, "N", "More."),
        ("fit", bool, "N", "Do not fit."),
    ],
)
def test_what_a_field_says(name, kind, metavar, said):
    option = OPTIONS[name]
    assert (option.kind, option.metavar, option.help) == (kind, metavar, said)


def test_the_word_is_the_alias():
    assert (OPTIONS["source"].name, OPTIONS["source"].word, OPTIONS["more"].word) == ("source", "from", "more")


def test_groups_of_one_title_are_different_groups():
    assert FITTING.title == MACHINE.title
    assert FITTING != MACHINE


def test_the_text_is_the_description_in_a_schema():
    assert Sample.model_json_schema()["properties"]["fit"]["description"] == "Fit."
