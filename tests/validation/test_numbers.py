import json
import math

import pytest
from pydantic import BaseModel, ValidationError

from onnxshallow.validation.numbers import Number, Real


class Figures(BaseModel):
    perhaps: Number = None
    known: Real = 0.0


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_does_not_know_is_written_as_null(value):
    written = json.loads(Figures(perhaps=value, known=value).model_dump_json())
    assert written == {"perhaps": None, "known": None}


def test_other_figures_are_written_as_they_are():
    assert json.loads(Figures(perhaps=1.5, known=-2).model_dump_json()) == {"perhaps": 1.5, "known": -2}


def test_null_is_nothing_known_or_no_number():
    read = Figures.model_validate_json('{"perhaps": null, "known": null}')
    assert read.perhaps is None
    assert math.isnan(read.known)


def test_words_are_no_figures():
    for name in ("perhaps", "known"):
        with pytest.raises(ValidationError):
            Figures(**{name: "many"})
