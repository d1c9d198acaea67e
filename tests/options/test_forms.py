from pathlib import Path

import pytest
from pydantic import ValidationError

from onnxshallow.options.forms import describe_data, file_of, names_code
from onnxshallow.options.schema import Config


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.py:f", True),
        ("/data/my.calib.py:make_reader", True),
        ("C:\\x\\a.py:f", True),
        ("a.py", False),
        ("a.py:", False),
        ("a.py:2f", False),
        ("a.py:f()", False),
        ("data.npz", False),
        ("x.py:/data", False),
    ],
)
def test_code_is_recognized_by_its_form(source, expected):
    assert names_code(source) is expected


@pytest.mark.parametrize(
    ("source", "expected"), [("data.npz", "data.npz"), ("images/", "images"), ("my/reader.py:make", "my/reader.py")]
)
def test_the_file_that_a_source_names(source, expected):
    assert file_of(source) == Path(expected)


@pytest.mark.parametrize(("source", "expected"), [(None, None), ("a.npz", "a.npz"), ([1], "<list>")])
def test_sources_in_words(source, expected):
    assert describe_data(source) == expected


@pytest.mark.parametrize(
    ("given", "read"), [(48, 48), ("48", 48), ("48x192", (48, 192)), ([48, 192], (48, 192)), (None, None)]
)
def test_images_are_resized_by_one_side_or_by_both(given, read):
    assert Config(resize=given).resize == read


@pytest.mark.parametrize("given", ["48x", "x", "4x4x4", "", [], [1, 2, 3]])
def test_what_is_no_size_is_told_how_one_is_given(given):
    with pytest.raises(ValidationError, match="as 256, for the shorter side, or as 48x192"):
        Config(resize=given)
