import pytest

from onnxshallow.model.session import Session
from onnxshallow.report.build.validation import first_answer
from onnxshallow.validation.compare import compare_models
from tests.graphs import run_plain
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, net

IMAGES = smooth(40, 3, 6)


def compared(second=None, labels=None, first=None):
    first = first or net()
    sessions = (Session(model, threads=1) for model in (first, second or first))
    return compare_models(*sessions, [({"x": IMAGES}, labels)])


@pytest.fixture(scope="module")
def labels():
    """What the network says, but for ten samples."""
    labels = run_plain(net(), {"x": IMAGES})[0].argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 6
    return labels


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
