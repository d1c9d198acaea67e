"""One judgement from all that is known."""

import pytest

from onnxshallow.errors import ExitCode
from onnxshallow.validation.judgement import Finding, judge

NOTE = Finding("speed", "It is 0.92 times as fast.")


def refusal(about):
    return Finding(about, f"Refused for {about}.", refuses=True)


def test_notes_refuse_nothing():
    judgement = judge([NOTE])
    assert (judgement.status, judgement.exit_code, judgement.refusals) == ("met", ExitCode.OK, ())


@pytest.mark.parametrize(
    ("about", "status", "code"),
    [
        (("target",), "target", 5),
        (("speed",), "target", 5),
        (("accuracy",), "accuracy", 4),
        (("stability",), "accuracy", 4),
        (("data",), "accuracy", 4),
        (("target", "stability"), "accuracy", 4),
    ],
)
def test_what_is_refused_ends_with_the_code_of_its_kind(about, status, code):
    judgement = judge([NOTE, *map(refusal, about)])
    assert (judgement.status, judgement.exit_code) == (status, code)
    assert judgement.findings[-1] == NOTE


def test_what_is_forced_passes_and_still_says_what_was_overridden():
    judgement = judge([refusal("accuracy")], forced=True)
    assert (judgement.status, judgement.exit_code) == ("forced", ExitCode.OK)
    assert judgement.refusals == (refusal("accuracy"),)
