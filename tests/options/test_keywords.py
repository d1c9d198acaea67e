"""That they are up to date, and what type checkers make of them: tests/tools/test_keywords.py."""

from onnxshallow.options.keywords import Options
from onnxshallow.options.schema import Config


def test_every_option_is_a_keyword_under_each_of_its_names():
    words = {(field.alias or name).replace("-", "_") for name, field in Config.model_fields.items()}
    assert set(Options.__annotations__) == words | set(Config.model_fields)
