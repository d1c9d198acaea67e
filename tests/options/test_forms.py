from pathlib import Path

import pytest

from onnxshallow.options.forms import describe_data, file_of, names_code


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
