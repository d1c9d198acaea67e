"""One judgement from all that is known."""

import pytest

from onnxshallow.errors import AccuracyError, ExitCode, TargetError
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


def test_the_error_holds_all_that_refuses():
    error = judge([NOTE, refusal("target"), refusal("stability")]).error
    assert isinstance(error, AccuracyError)
    assert str(error) == "Refused for target. Refused for stability."
    assert isinstance(judge([refusal("speed")]).error, TargetError)
    assert judge([NOTE]).error is None
    assert judge([refusal("speed")], forced=True).error is None


def test_the_line_says_what_was_reached_and_what_is_to_be_known():
    facts = ["54.5 % of the ReLUs", "0.34 points lost"]
    assert judge([]).line(facts) == "Goal met: 54.5 % of the ReLUs, 0.34 points lost."
    assert judge([NOTE]).line(facts[:1]) == "Goal met: 54.5 % of the ReLUs. It is 0.92 times as fast."
    assert judge([]).line([], "Plan carried out") == "Plan carried out."


def test_the_line_says_why_a_model_is_refused():
    findings = [NOTE, refusal("accuracy"), refusal("speed")]
    assert (
        judge(findings).line(["a fact"])
        == "Not met: Refused for accuracy. Refused for speed. It is 0.92 times as fast."
    )
    assert judge(findings, forced=True).line([]) == (
        "Forced, though refused: Refused for accuracy. Refused for speed. It is 0.92 times as fast."
    )
