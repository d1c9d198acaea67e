from pathlib import Path

import pytest

from onnxshallow.cli.several import each
from onnxshallow.errors import ModelError, UsageError

A, B = Path("a"), Path("b")


def refuse_b(path):
    if path == B:
        raise ModelError("No b.")
    return path.name


def test_what_is_wrong_with_one_file_keeps_no_other_from_its_turn(capsys):
    made, failed = each([B, A], refuse_b)
    assert made == ["a"]
    assert [(one.path, one.error, one.exit_code) for one in failed] == [("b", "No b.", 3)]
    assert capsys.readouterr().err == "error: No b.\n"


def test_one_file_alone_fails_as_ever():
    with pytest.raises(ModelError):
        each([B], refuse_b)


def test_wrong_options_go_for_all_files():
    def refuse(path):
        raise UsageError("No such option.")

    with pytest.raises(UsageError):
        each([A, B], refuse)
