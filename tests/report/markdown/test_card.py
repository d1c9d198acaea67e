import yaml

from onnxshallow.report.markdown.card import model_card
from onnxshallow.report.schema.reports import FileReport
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


def test_a_card_of_no_model_says_so():
    assert "No model was made." in model_card(REPORT)
