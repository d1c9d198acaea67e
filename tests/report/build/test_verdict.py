import numpy as np
import pytest

from onnxshallow.report.build.verdict import verdict_report
from onnxshallow.validation.compare import Accuracy, Comparison, Fidelity
from onnxshallow.validation.judgement import Finding, judge
from onnxshallow.validation.statistics import mcnemar

NOTE = Finding("accuracy", "By 8 samples more may be lost.")
REFUSAL = Finding("data", "The labels do not fit.", refuses=True)
FIDELITY = Fidelity(samples=10, agreement=0.9, kl=0.01, relative_error={"y": 0.1})


def test_a_verdict_holds_all_that_is_known():
    verdict = verdict_report(judge([NOTE, REFUSAL]), Comparison(None, None, FIDELITY), ["a fact"], ["a remark"])
    assert (verdict.status, verdict.exit_code, verdict.validated) == ("accuracy", 4, True)
    assert verdict.findings == (REFUSAL, NOTE)
    assert verdict.reasons == [REFUSAL.text, NOTE.text, "a remark"]
    assert (verdict.remarks, verdict.overridden) == (["a remark"], [])
    assert verdict.line == "Not met: The labels do not fit. By 8 samples more may be lost."


def test_a_model_that_may_be_shipped_says_how_far_it_went():
    verdict = verdict_report(judge([NOTE]), None, ["a fact"], [], "Target reached, not validated")
    assert (verdict.status, verdict.exit_code, verdict.validated) == ("met", 0, False)
    assert verdict.line == "Target reached, not validated: a fact. By 8 samples more may be lost."


def test_what_was_overridden_is_said():
    verdict = verdict_report(judge([REFUSAL], forced=True), None, ["a fact"], [])
    assert (verdict.status, verdict.exit_code, verdict.overridden) == ("forced", 0, [REFUSAL.text])
    assert verdict.line == "Forced, though refused: The labels do not fit."


def test_accuracy_lost_is_told_of_labels_only():
    right = np.array([True] * 9 + [False])
    accuracies = Accuracy(0.9, None, (0.8, 0.95), 10), Accuracy(0.8, None, (0.7, 0.9), 10)
    comparison = Comparison(*accuracies, FIDELITY, mcnemar(right, ~right), (0.0, 0.2))
    verdict = verdict_report(judge([]), comparison, [], [])
    assert verdict.accuracy_lost == pytest.approx(0.1)
    assert verdict.accuracy_lost_interval == (0.0, 0.2)
    assert verdict.mcnemar_p == comparison.mcnemar.p_value
    bare = verdict_report(judge([]), comparison.unlabelled, [], [])
    assert bare.accuracy_lost is bare.accuracy_lost_interval is bare.mcnemar_p is None
