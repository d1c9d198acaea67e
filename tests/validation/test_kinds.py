import numpy as np
import pytest

from onnxshallow.validation.kinds import OutputKind, class_places, pixel_scores
from tests.graphs import signed


def classes(axis=1, widths=()):
    return OutputKind("y", "classes", "", axis, widths)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1, 1)])
def test_one_row_a_sample_is_one_place(shape):
    values = signed("y", shape)
    (place,) = class_places(classes(), values, 2 * values, 4)
    assert place.output == "y"
    np.testing.assert_array_equal(place.first, values.reshape(4, 5))
    np.testing.assert_array_equal(place.second, 2 * values.reshape(4, 5))


@pytest.mark.parametrize("axis", [1, 2])
def test_a_sequence_has_a_place_for_each_position(axis):
    values = signed("y", (4, 3, 7))  # (N, T, K), or (N, K, T) where the axis is 1
    places = class_places(classes(axis), values, values, 4)
    expected = values if axis == 2 else values.transpose(0, 2, 1)
    assert len(places) == expected.shape[1]
    for position, place in enumerate(places):
        np.testing.assert_array_equal(place.first, expected[:, position])


def test_heads_one_after_another_are_places_of_their_own():
    values = signed("y", (4, 5))
    first, second = class_places(classes(widths=(2, 3)), values, values, 4)
    np.testing.assert_array_equal(np.hstack([first.first, second.first]), values)
    assert (first.first.shape, second.first.shape) == ((4, 2), (4, 3))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (OutputKind("y", "regression", ""), np.zeros((4, 5))),
        (classes(), np.zeros((4, 5), int)),
        (classes(), np.zeros((4, 1))),
        (classes(), np.zeros(4)),
        (classes(), np.zeros((6, 5))),
        (classes(2), np.zeros((4, 5))),
    ],
    ids=["another kind", "whole numbers", "one class", "no axis", "other rows than samples", "no such axis"],
)
def test_what_holds_no_class_scores_has_no_places(kind, values):
    assert class_places(kind, values, values, 4) == []


@pytest.mark.parametrize("axis", [1, 3])
def test_a_mask_has_scores_for_each_pixel(axis):
    values = signed("m", (2, 3, 4, 5))
    scores, others = pixel_scores(OutputKind("m", "mask", "", axis), values, -values, 2)
    assert scores.shape == (2, values.size // 2 // values.shape[axis], values.shape[axis])
    np.testing.assert_array_equal(scores, np.moveaxis(values, axis, -1).reshape(scores.shape))
    np.testing.assert_array_equal(others, -scores)


@pytest.mark.parametrize(("shape", "axis"), [((2, 1, 2, 2), 1), ((2, 2, 2), 3)])
def test_one_channel_says_whether_a_pixel_belongs(shape, axis):
    mask, logits = OutputKind("m", "mask", "", axis), np.array([-3.0, 2.0] * 4).reshape(shape)
    scores, _ = pixel_scores(mask, logits, logits, 2)
    assert scores.argmax(axis=-1).tolist() == [[0, 1, 0, 1]] * 2
    share = np.array([0.4, 0.6] * 4).reshape(shape)
    scores, _ = pixel_scores(mask, share, share, 2)
    assert scores.argmax(axis=-1).tolist() == [[0, 1, 0, 1]] * 2
    np.testing.assert_allclose(scores.sum(axis=-1), 1)


def test_what_is_no_mask_has_no_pixels():
    assert pixel_scores(OutputKind("m", "mask", ""), np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), int), 2) is None
    assert pixel_scores(OutputKind("m", "boxes", ""), np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), 2) is None
