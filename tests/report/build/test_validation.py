import numpy as np
import pytest

from onnxshallow.model.session import Session
from onnxshallow.report.build.validation import first_answer, gates_verdict
from onnxshallow.validation.compare import compare_models
from onnxshallow.validation.gates import Limits, check_gates
from tests.graphs import run_plain
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, flipped, net

IMAGES = smooth(40, 3, 6)


def compared(second=None, labels=None, first=None):
    first = first or net()
    sessions = (Session(model, threads=1) for model in (first, second or first))
    return compare_models(*sessions, [({"x": IMAGES}, labels)])


def judged(comparison, **limits):
    given = Limits(**limits)
    return gates_verdict(comparison, check_gates(comparison, given))


@pytest.fixture(scope="module")
def labels():
    """What the network says, but for ten samples."""
    labels = run_plain(net(), {"x": IMAGES})[0].argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 6
    return labels


def test_a_model_that_keeps_within_its_gates_passes():
    verdict = judged(compared(), max_drop=0, min_agreement=1, max_error=0)
    assert (verdict.status, verdict.exit_code, verdict.validated, verdict.reasons) == ("met", 0, True, [])


def test_each_gate_that_is_broken_is_a_reason():
    verdict = judged(compared(flipped(net(), "w3")), max_drop=0.001, min_agreement=0.999, max_error=1000)
    assert (verdict.status, verdict.exit_code) == ("accuracy", 4)
    assert ["--max-drop" in reason for reason in verdict.reasons] == [True, False]
    assert ["--min-agreement" in reason for reason in verdict.reasons] == [False, True]


@pytest.mark.parametrize(
    ("classes", "gate"), [(6, "--max-drop 0.05"), (1, "--max-error 0.1")], ids=["classes", "a number"]
)
def test_the_default_gate_is_said_to_be_one(classes, gate):
    weights = {**NET_WEIGHTS, "w3": (classes, 4), "b3": (classes,)}
    verdict = judged(compared(first=build(NET.replace("[N,6] y", f"[N,{classes}] y"), **weights)))
    assert verdict.status == "met"
    (reason,) = verdict.reasons
    assert reason.startswith(f"No gate was given, so the default counts: {gate}; ")


def test_outputs_that_are_no_numbers_break_every_gate():
    broken = build(NET, **{**NET_WEIGHTS, "b3": np.full(6, np.nan, np.float32)})
    verdict = judged(compared(broken), max_error=1e9)
    assert verdict.exit_code == 4
    assert "NaN or infinite for 40 of 40 samples" in verdict.reasons[0]


def test_accuracy_is_lost_where_there_are_labels_only(labels):
    verdict = judged(compared(flipped(net(), "w3"), labels), max_drop=1)
    comparison = compared(flipped(net(), "w3"), labels)
    assert verdict.accuracy_lost == comparison.accuracy_lost > 0
    assert verdict.accuracy_lost_interval == comparison.drop_interval
    assert 0 < verdict.mcnemar_p < 1
    verdict = judged(compared(flipped(net(), "w3")), max_drop=1)
    assert verdict.accuracy_lost is verdict.accuracy_lost_interval is verdict.mcnemar_p is None


def test_a_first_answer_says_what_is_known(labels):
    said = first_answer(compared(labels=labels), 4000)
    assert said.startswith("After 40 of 4000 samples: top-1 75.0 % -> 75.0 % (points lost: 95 % interval ")
    assert "same class for 100.0 % (95 % interval 91.2 % to 100.0 %)." in said
    said = first_answer(compared(), 4000)
    assert said.startswith("After 40 of 4000 samples: same class for 100.0 %")


def test_without_classes_a_first_answer_says_the_error():
    model = build(NET.replace("[N,6] y", "[N,1] y"), **{**NET_WEIGHTS, "w3": (1, 4), "b3": (1,)})
    assert first_answer(compared(first=model), 50) == "After 40 of 50 samples: relative error of 'y' 0."


def test_of_outputs_of_integers_the_equal_share_is_known():
    text = NET.replace("(float[N,6] y)", "(int64[N,1] c)").replace("b3)", "b3) c = ArgMax<axis=1>(y)")
    model = build(text, **NET_WEIGHTS)
    said = first_answer(compared(first=model), 50)
    assert said == "After 40 of 50 samples: 100.0 % of the elements of 'c' are equal."
