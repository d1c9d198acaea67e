from pathlib import Path

import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.document import as_document
from onnxshallow.search.prospect import SHARES, Prospect, gain_in_words, prospects
from tests.networks import build, signed

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(scope="module")
def found():
    return prospects(analyze(as_document(MODELS / "digits-resnet.onnx").plain.model))


def test_the_first_is_the_network_as_it_is(found):
    assert (found[0].relus, found[0].macs, found[0].depth) == (11264, 1713472, 14)


def test_each_share_is_kept_and_more_is_saved_from_one_to_the_next(found):
    assert len(found) == 1 + len(SHARES)
    for share, each in zip(SHARES, found[1:], strict=True):
        assert each.relus <= share * found[0].relus
    for name in ("relus", "macs", "depth", "estimated_ms"):
        values = [getattr(each, name) for each in found]
        assert values == sorted(values, reverse=True)
        assert values[-1] > 0


def test_a_network_without_relus_has_no_prospects_but_itself():
    model = build("(float[N,3,4,4] x) => (float[N,2,4,4] y) { y = Conv(x, w) }", w=signed((2, 3, 1, 1)))
    assert len(prospects(analyze(model))) == 1


def test_what_is_not_counted_has_none():
    model = build("(float[N,3,H,W] x) => (float[N,2,H,W] y) { y = Conv(x, w) }", w=signed((2, 3, 1, 1)))
    assert prospects(analyze(model)) == []


def test_words():
    assert gain_in_words([]) == ""
    now = Prospect(1000, 5000, 9, 2.0)
    assert "cannot be brought down" in gain_in_words([now])
    words = gain_in_words([now, Prospect(740, 4000, 7, 1.6)])
    assert words.startswith(
        "It takes about 2 ms on one core, and can be brought to 0.74 of the ReLUs with 0.80 of the"
    )
    assert "and about 1.6 ms. What that costs in accuracy" in words


def test_a_plan_that_serves_several_shares_is_said_once():
    now, less = Prospect(1000, 5000, 9, 2.0), Prospect(200, 5000, 9, 2.0)
    words = gain_in_words([now, less, less, less])
    assert words == gain_in_words([now, less])
    assert words.count("of the ReLUs") == 1
