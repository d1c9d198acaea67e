import numpy as np
import pytest

from onnxshallow.validation.labels import LabelFit, LabelTally, class_folders, labels_that_do_not_fit


def fit(predicted, labels, classes):
    tally = LabelTally()
    for part in (slice(0, 7), slice(7, None)):
        tally.add(np.asarray(predicted)[part], np.asarray(labels)[part], classes)
    return tally.result()


def refusals(found):
    assert {finding.about for finding in found} <= {"data"}
    return [finding.text for finding in found if finding.refuses]


TRUTH = np.random.default_rng(0).integers(0, 5, 200)


def test_right_answers_are_counted_as_they_are_and_shifted():
    assert fit([0, 1, 2, -1], [0, 2, 0, 2], 3) == LabelFit(3, 4, 1, {-1: 2, 1: 0})


@pytest.mark.parametrize(("shift", "hint"), [(1, "With 1 taken from each label"), (-1, "With 1 added to each label")])
def test_shifted_labels_are_found_out(shift, hint):
    (text,) = refusals(labels_that_do_not_fit(fit(TRUTH, (TRUTH + shift) % 5, 5), "v.npz"))
    assert "The labels of v.npz do not fit this network: the original is right on 0.00 % of 200 samples" in text
    assert f"{hint} it is right on 100.00 %." in text


def test_labels_by_chance_are_found_out_without_a_hint():
    (text,) = refusals(labels_that_do_not_fit(fit(TRUTH, np.random.default_rng(1).permutation(TRUTH), 5), "v.npz"))
    assert "hardly better than guessing among 5 classes" in text
    assert "each label" not in text


@pytest.mark.parametrize(
    ("classes", "right", "samples", "refused"),
    [
        (2, 130, 200, False),
        (2, 104, 200, True),
        (2, 90, 200, True),
        (2, 1, 4, False),
        (5, 50, 200, True),
        (5, 56, 200, False),
        (10, 2, 16, False),
        (10, 20, 200, True),
        (1000, 20, 5000, True),
        (1000, 600, 5000, False),
    ],
)
def test_only_what_is_surely_no_better_than_guessing_is_refused(classes, right, samples, refused):
    found = labels_that_do_not_fit(LabelFit(classes, samples, right, {-1: 0, 1: 0}), "v")
    assert bool(refusals(found)) is refused


def test_folders_that_are_not_as_many_as_classes_are_told():
    (finding,) = class_folders(("train", "val"), 10, "root")
    assert not finding.refuses
    assert finding.text == "root has 2 class folders (train, val), the network 10 classes."
    assert "(a, b, c, ...)" in class_folders(tuple("abcd"), 5, "root")[0].text


def test_as_many_folders_as_classes_need_no_word():
    assert class_folders(("a", "b"), 2, "root") == []
    assert class_folders(None, 2, "root") == []
