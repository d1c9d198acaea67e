import math

import numpy as np
import pytest

from onnxshallow.validation import classes
from onnxshallow.validation.classes import ClassCount, ClassTally, predictions
from onnxshallow.validation.kinds import Place


def one_hot(of, height=4.0, count=3):
    return (np.asarray(height)[..., None] * np.eye(count)[of]).astype(np.float32)


def tallied(*batches):
    tally = ClassTally()
    for first, second, labels in batches:
        tally.add([Place("y", first, second)], None if labels is None else np.array(labels)[:, None])
    return tally


def test_masked_classes_are_never_predicted():
    scores = np.array([[-math.inf, 1, 0], [math.nan, 1, 0], [math.inf, 1, 0], [-math.inf] * 3])
    assert predictions(scores).tolist() == [1, -1, -1, -1]


def test_classes_are_those_of_the_labels():
    tally = tallied(
        (one_hot([0, 0, 1]), one_hot([0, 1, 1]), [0, 0, 0]),
        (one_hot([1]), one_hot([1]), [2]),
    )
    assert tally.classes() == (ClassCount(0, 3, 2, 2, 1), ClassCount(2, 1, 1, 0, 0))


def test_without_labels_classes_are_the_first_models():
    tally = tallied((one_hot([0, 0, 2]), one_hot([0, 1, 2]), None))
    assert tally.classes() == (ClassCount(0, 2, 1), ClassCount(2, 1, 1))


def test_changed_samples_come_surest_first():
    first = one_hot([0, 1, 2, 0], [1.5, 3.0, 2.0, 9.0])
    tally = tallied((first[:1], one_hot([1]), None), (first[1:], one_hot([0, 0, 0]), None))
    found = tally.changed()
    assert [(one.index, one.original, one.optimized) for one in found] == [(1, 1, 0), (2, 2, 0), (0, 0, 1)]
    assert found[0].original_score == pytest.approx(math.exp(3) / (math.exp(3) + 2))
    assert found[0].optimized_score == pytest.approx(math.exp(4) / (math.exp(4) + 2))
    assert found[0].label is None


def test_probabilities_are_scores_as_they_are():
    tally = tallied((np.array([[0.7, 0.2, 0.1]]), np.array([[0.3, 0.6, 0.1]]), [1]))
    (changed,) = tally.changed()
    assert (changed.label, changed.original_score, changed.optimized_score) == (
        1, pytest.approx(0.7), pytest.approx(0.6)
    )  # fmt: skip


def test_the_surest_are_kept(monkeypatch):
    monkeypatch.setattr(classes, "MOST_CHANGED", 2)
    tally = tallied(*((one_hot([0], height), one_hot([1]), None) for height in (1.5, 5.0, 2.0, 3.0, 1.2)))
    assert [one.index for one in tally.changed()] == [1, 3]  # the last one takes nobody's place
    assert tally.changed_total == 5


def test_scores_that_are_no_numbers_are_no_class():
    broken = one_hot([0, 1])
    broken[1] = math.nan
    tally = tallied((one_hot([0, 1]), broken, [0, 1]))
    (changed,) = tally.changed()
    assert (changed.index, changed.original, changed.optimized, changed.optimized_score) == (1, 1, None, None)
    assert tally.classes() == (ClassCount(0, 1, 1, 1, 1), ClassCount(1, 1, 0, 1, 0))
    assert tallied((broken, broken, None)).classes() == (ClassCount(0, 1, 1),)


def test_a_masked_class_is_no_change():
    masked = one_hot([0, 1])
    masked[:, 2] = -math.inf
    tally = tallied((masked, masked, None))
    assert (tally.changed_total, tally.classes()) == (0, (ClassCount(0, 1, 1), ClassCount(1, 1, 1)))
