import math

import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.validation import outputs
from onnxshallow.validation.outputs import OutputTally
from onnxshallow.validation.statistics import largest_ratio


def tallied(*batches):
    """The difference of pairs of arrays, batch by batch."""
    tally = OutputTally("y")
    for first, second in batches:
        tally.add(first, second, len(first) if first.ndim else 1)
    return tally.result()


def images(seed, samples=6):
    return np.random.default_rng(seed).normal(size=(samples, 2, 3, 4)).astype(np.float32)


def test_figures_are_those_of_their_definitions():
    first, second = images(0), images(1)
    found = tallied((first[:4], second[:4]), (first[4:], second[4:]))
    a, b = first.astype(float).reshape(6, -1), second.astype(float).reshape(6, -1)
    assert found.shape == (2, 3, 4)
    assert found.relative_error == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found.cosine == pytest.approx(cosines.mean())
    peak, mse = a.max() - a.min(), np.mean((b - a) ** 2)
    assert found.psnr_db == pytest.approx(10 * np.log10(peak**2 / mse))
    assert found.max_error == pytest.approx(np.abs(b - a).max())
    ratios = np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1)
    assert (found.worst_sample, found.worst_error) == (ratios.argmax(), pytest.approx(ratios.max()))
    assert (found.equal, found.not_finite) == (None, 0)


def test_how_far_off_others_may_be_follows_from_the_samples():
    first, second = images(0), images(0) + 0.1 * images(1)
    found = tallied((first[:4], second[:4]), (first[4:], second[4:]))
    a, b = first.astype(float).reshape(6, -1), second.astype(float).reshape(6, -1)
    error = largest_ratio(((b - a) ** 2).sum(1), (a**2).sum(1))
    assert found.relative_error < found.relative_error_bound == pytest.approx(np.sqrt(error))
    lost = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert found.cosine > found.cosine_bound == pytest.approx(1 - largest_ratio(lost, np.ones(6)))
    assert tallied((first[:1], second[:1])).relative_error_bound == math.inf


def test_large_outputs_are_taken_in_parts(monkeypatch):
    pair = images(0), images(1)
    whole = tallied(pair)
    monkeypatch.setattr(outputs, "_CHUNK", 50)
    parts = tallied(pair)
    assert parts.worst_sample == whole.worst_sample
    for name in ("relative_error", "cosine", "psnr_db", "max_error", "worst_error"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name))


def test_a_constant_says_the_mean_of_the_samples():
    tally, first = OutputTally("y"), images(0) + 3
    for batch in (first[:4], first[4:]):
        tally.add(batch, batch, len(batch))
    found, rows = tally.constant(), first.astype(float).reshape(6, -1)
    error = np.linalg.norm(rows - rows.mean(axis=0)) / np.linalg.norm(rows)
    assert (found.relative_error, found.cosine) == (pytest.approx(error), pytest.approx(math.sqrt(1 - error**2)))


def test_of_samples_of_several_sizes_and_of_whole_numbers_no_constant_is_known():
    tally = OutputTally("y")
    for size in (3, 4, 3):
        tally.add(np.ones((2, size), np.float32), np.ones((2, size), np.float32), 2)
    assert math.isnan(tally.constant().relative_error)
    tally = OutputTally("y")
    tally.add(np.ones((2, 3), np.int64), np.ones((2, 3), np.int64), 2)
    assert tally.constant().equal == 0


def test_equal_outputs():
    found = tallied((images(0), images(0)))
    assert (found.relative_error, found.cosine, found.max_error, found.worst_error) == (0, 1, 0, 0)
    assert found.psnr_db is found.worst_sample is None


def test_nothing_points_nowhere():
    """The cosine of zeros with zeros is 1, with anything else 0."""
    zeros = np.zeros((2, 3), np.float32)
    other = zeros.copy()
    other[1] = 1
    found = tallied((zeros, other))
    assert found.cosine == 0.5
    assert (found.worst_sample, found.worst_error, found.psnr_db) == (1, math.inf, None)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_the_worst_there_is(bad):
    first, second = images(0), images(0)
    second[4, 0, 0, 0] = bad
    found = tallied((first, second))
    assert (found.relative_error, found.max_error, found.worst_sample, found.worst_error) == (
        math.inf, math.inf, 4, math.inf
    )  # fmt: skip
    assert math.isnan(found.cosine)
    assert (found.psnr_db, found.not_finite) == (None, 1)


def test_an_infinity_in_both_is_no_difference():
    first = np.array([[1.0, -math.inf, 3.0], [2.0, 1.0, -math.inf]])
    second = np.array([[1.0, -math.inf, 3.0], [2.0, 2.0, -math.inf]])
    equal = tallied((first, first))
    assert (equal.relative_error, equal.cosine, equal.max_error, equal.not_finite) == (0, 1, 0, 0)
    found = tallied((first, second))
    assert found.relative_error == pytest.approx(1 / math.sqrt(1 + 9 + 4 + 1))
    assert found.psnr_db == pytest.approx(10 * math.log10(2**2 / (1 / 6)))
    assert (found.worst_sample, found.max_error, found.not_finite) == (1, 1, 0)


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.str_])
def test_what_is_no_float_is_equal_or_not(dtype):
    first = np.array([[1, 0, 1, 1], [1, 0, 0, 0]]).astype(dtype)
    second = np.array([[1, 0, 1, 1], [0, 1, 0, 0]]).astype(dtype)
    found = tallied((first, second))
    assert (found.equal, found.worst_sample, found.worst_error) == (0.75, 1, 0.5)
    assert found.relative_error is found.cosine is found.max_error is found.psnr_db is None
    assert tallied((first, first)).worst_sample is None


def test_axes_that_vary_have_no_size():
    assert tallied((images(0), images(0)), (images(0)[:, :, :2], images(0)[:, :, :2])).shape == (2, None, 4)


def test_outputs_that_are_not_batch_first_have_no_worst_sample():
    tally = OutputTally("y")
    tally.add(np.array(2.0), np.array(3.0), 5)
    tally.add(np.array(2.0), np.array(2.0), 5)
    found = tally.result()
    assert (found.shape, found.worst_sample, found.worst_error) == ((), None, 0.5)
    assert found.relative_error == pytest.approx(math.sqrt(1 / 8))


def test_empty_outputs_are_equal():
    found = tallied((np.zeros((2, 0)), np.zeros((2, 0))))
    assert (found.relative_error, found.cosine, found.max_error, found.psnr_db) == (0, 1, 0, None)


def test_other_shapes_are_an_error():
    with pytest.raises(ModelError, match=r"'y' is \(6, 2, 3, 4\) in the first and \(5, 2, 3, 4\)"):
        tallied((images(0), images(0)[:5]))


def test_whole_numbers_of_another_shape_are_unequal():
    found = tallied((np.array([[1, 2], [3, 4]]), np.array([[1, 2]])), (np.array([[1, 2]]), np.array([[1, 2]])))
    assert (found.equal, found.worst_sample, found.worst_error) == (2 / 6, None, 1)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_numbers_whose_squares_cannot_be_held_are_told_apart(size):
    first, second = (images(seed).astype(np.float64) for seed in (0, 1))
    expected, found = (tallied((k * first[:4], k * second[:4]), (k * first[4:], k * second[4:])) for k in (1, size))
    for name in ("relative_error", "cosine", "psnr_db", "worst_error"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))
    assert found.max_error == pytest.approx(size * expected.max_error)
