import pytest
import yaml

from onnxshallow.report.markdown.card import model_card
from onnxshallow.report.schema.reports import FileReport
from onnxshallow.report.schema.sections import TrainingReport
from tests.report.pages import REPORT
from tests.report.schema.test_reports import FIDELITY

MADE = REPORT.model_copy(
    update={
        "output": FileReport(path="made/a_b.onnx", sha256="1" * 64),
        "optimized": REPORT.original,
        "fidelity": FIDELITY,
        "versions": {"onnxshallow": "1.2"},
        "config": {"calib": "a.npz", "seed": 3},
    }
)


def test_a_card_tells_of_what_a_model_was_made_and_how_good_it_is():
    card = model_card(MADE)
    assert r"# a\_b" in card
    assert "Made of `a.onnx` by onnxshallow 1.2" in card
    for digest in ("0" * 64, "1" * 64):
        assert f"`{digest}`" in card
    assert "| ReLUs | 10 | 10 | 1.000 |" in card
    assert "| `calib` | a.npz |" in card
    assert "No accuracy is known" in card
    assert model_card(MADE) == card


def test_a_card_begins_with_what_hubs_read():
    assert yaml.safe_load(model_card(MADE).split("---")[1]) == {
        "library_name": "onnx",
        "tags": ["onnx", "onnxshallow"],
    }


def test_a_card_says_that_data_were_made_up():
    assert "synthetic images" in model_card(MADE.model_copy(update={"config": {}}))


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (None, "fitted to 96 unlabelled samples alone; labels served to measure accuracy"),
        (
            {"labels": False},
            "fitted to 96 unlabelled samples, and learned from the original on 300; labels served to",
        ),
        ({"labels": True}, "fitted to 96 unlabelled samples, and learned from 300 samples and their labels."),
    ],
)
def test_a_card_says_what_the_weights_have_seen(training, words):
    learned = None if training is None else TrainingReport.model_construct(samples=300, **training)
    made = MADE.model_copy(update={"calibration_samples": 96, "training": learned})
    assert f"Weights were {words}" in model_card(made)


def test_a_card_of_no_model_says_so():
    assert "No model was made." in model_card(REPORT)
