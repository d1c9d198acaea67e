"""That they are up to date, and what type checkers make of them: tests/tools/test_keywords.py."""

from onnxshallow.options.keywords import Options
from onnxshallow.options.schema import OPTIONS, Config


def test_every_option_is_a_keyword_under_each_of_its_names():
    words = {word.replace("-", "_") for option in OPTIONS for word in option.words}
    assert set(Options.__annotations__) == words | set(Config.model_fields)
