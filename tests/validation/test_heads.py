import math

import numpy as np
import pytest

from onnxshallow.errors import DataError
from onnxshallow.validation.heads import HeadsTally, MaskTally
from onnxshallow.validation.kinds import OutputKind, Place
from onnxshallow.validation.metrics import kl_divergence
from onnxshallow.validation.statistics import largest_ratio
from tests.graphs import signed


def one_hot(classes, count=6):
    return 4 * np.eye(count, dtype=np.float32)[classes]


def tallied(places, labels=None, same=None):
    tally = HeadsTally()
    tally.add(places, same or {}, None if labels is None else np.array(labels), len(places[0].first))
    return tally


def two_heads(first=(0, 1, 2, 3), second=(0, 1, 2, 3)):
    """Heads `a`, which agree, and `b`, which change one sample of four."""
    a, b = one_hot(list(first)), one_hot(list(second))
    changed = b.copy()
    changed[3] = one_hot(5)
    return [Place("a", a, a), Place("b", b, changed)]


def test_a_sample_agrees_where_all_its_heads_do():
    tally = tallied(two_heads())
    assert tally.agreement == 0.75
    assert {name: head.agreement for name, head in tally.heads.items()} == {"a": 1.0, "b": 0.75}


def test_each_head_has_its_divergence():
    first, second = signed("a", (8, 6)), signed("b", (8, 6))
    tally = tallied([Place("a", first, second), Place("b", first, first)])
    assert tally.heads["a"].kl == pytest.approx(float(kl_divergence(first, second).mean()))
    assert tally.heads["b"].kl == pytest.approx(0, abs=1e-9)


def test_positions_of_one_output_are_one_head():
    tally = tallied([Place("y", place.first, place.second) for place in two_heads()])
    assert (tally.agreement, tally.heads["y"].agreement) == (0.75, 0.75)


def test_classes_as_whole_numbers_count_too():
    tally = tallied(two_heads(), same={"i": np.array([False, True, True, True])})
    assert tally.agreement == 0.5
    assert (tally.heads["i"].agreement, tally.heads["i"].kl) == (0.75, None)


def test_scores_that_are_no_numbers_never_agree():
    good, broken = one_hot([0, 1]), one_hot([0, 1])
    broken[0] = math.nan
    head = tallied([Place("y", good, broken)]).heads["y"]
    assert (head.agreement, head.kl) == (0.5, math.inf)


def test_nothing_is_known_without_heads():
    tally = HeadsTally()
    tally.add([], {}, np.array([0, 1]), 2)
    assert (tally.agreement, tally.heads, tally.answers(), tally.unused_labels) == (None, {}, None, True)


def test_labels_of_the_only_head_must_fit_it():
    answers = tallied(two_heads()[1:], [0, 1, 2, 3]).answers()
    assert (answers.first.tolist(), answers.second.tolist()) == ([True] * 4, [True, True, True, False])
    assert answers.output is None
    with pytest.raises(DataError, match="6 classes"):
        tallied(two_heads()[1:], [0, 1, 2, 6])


def test_a_code_is_right_where_all_its_characters_are():
    labels = [[0, 0], [1, 1], [2, 5], [3, 3]]
    answers = tallied(two_heads(), labels).answers()
    assert (answers.first.tolist(), answers.second.tolist()) == (
        [True, True, False, True],
        [True, True, False, False],
    )
    assert answers.first5 is answers.second5 is answers.output is None
    with pytest.raises(DataError, match="3 labels a sample, but the network tells 2 classes"):
        tallied(two_heads(), [[0, 0, 0]] * 4)


def test_one_label_a_sample_belongs_to_the_head_that_it_fits():
    labels = np.arange(40) % 6
    noise = signed("noise", (40, 6))
    tally = tallied([Place("other", noise, noise), Place("right", one_hot(labels), one_hot(labels))], labels)
    assert (tally.answers().output, tally.answers().first.all(), tally.unused_labels) == ("right", True, False)


def test_a_head_with_fewer_classes_than_labels_is_not_meant():
    labels = np.arange(40) % 6
    few = one_hot(labels % 3, 3)
    tally = tallied([Place("few", few, few), Place("right", one_hot(labels), one_hot(labels))], labels)
    assert tally.answers().output == "right"


def test_labels_that_no_head_tells_are_not_used():
    noise, labels = signed("noise", (40, 6)), np.arange(40) % 6
    tally = tallied([Place("a", noise, noise), Place("b", -noise, -noise)], labels)
    assert tally.answers() is None
    assert tally.unused_labels


def test_the_pixels_of_masks_are_counted(monkeypatch):
    monkeypatch.setattr("onnxshallow.validation.heads._CHUNK", 8)  # of several pieces
    first = signed("m", (2, 3, 4, 5))
    second = first.copy()
    second[0, :, 0, 0] = first[0, ::-1, 0, 0]
    mask = MaskTally()
    mask.add(OutputKind("m", "mask", ""), first, second, 2)
    pixels, others = (values.transpose(0, 2, 3, 1).reshape(-1, 3) for values in (first, second))
    found = mask.result()
    assert found.agreement == np.mean(pixels.argmax(1) == others.argmax(1))
    assert found.kl == pytest.approx(kl_divergence(pixels, others).mean())
    lost = (pixels.argmax(1) != others.argmax(1)).reshape(2, -1).mean(axis=1)
    assert found.bound == pytest.approx(1 - largest_ratio(lost, np.ones(2)))
    assert mask.commonest == np.bincount(pixels.argmax(1)).max() / len(pixels)
    assert MaskTally().result() is None
