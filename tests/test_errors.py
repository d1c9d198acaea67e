import pytest

from onnxshallow import errors
from onnxshallow.errors import ExitCode, OnnxshallowError

CODES = {
    "OnnxshallowError": 1, "UsageError": 2, "ModelError": 3, "DataError": 3, "AccuracyError": 4, "TargetError": 5
}  # fmt: skip


def test_the_exit_codes_are_those_of_the_contract():
    assert [(code.name, code.value) for code in ExitCode] == [
        ("OK", 0),
        ("INTERNAL", 1),
        ("USAGE", 2),
        ("UNUSABLE_INPUT", 3),
        ("ACCURACY", 4),
        ("TARGET", 5),
    ]


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_every_error_can_be_caught_as_one_and_has_its_code(name, code):
    error = getattr(errors, name)
    assert issubclass(error, OnnxshallowError)
    assert error("Something is wrong.").exit_code == code
