from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError


def column(count, factor=1.0):
    return ArrayColumn(factor * np.arange(count)[:, np.newaxis], np.dtype(np.float32))


@pytest.fixture
def samples():
    return Samples({"a": column(10), "b": column(10, -1.0)}, source="test", labels=np.arange(10) % 3)


def test_a_batch_has_every_input(samples):
    batch = samples.batch([7, 2])
    assert (batch["a"].tolist(), batch["b"].tolist()) == ([[7], [2]], [[-7], [-2]])


def test_views_of_views(samples):
    view = samples.take([9, 5, 1]).take([2, 0])
    assert (len(view), view.batch([0, 1])["a"].ravel().tolist(), view.labels.tolist()) == (2, [1, 9], [1, 0])


def test_samples_know_their_place_in_the_source(samples):
    view = samples.take([9, 5, 1]).take([2, 0])
    assert [view.position(index) for index in range(2)] == [1, 9]
    assert samples.position(3) == 3
    assert view.name(0) is None


def test_an_index_outside_is_an_error(samples):
    with pytest.raises(IndexError):
        samples.take([1, 2]).batch([2])


def test_labels_can_be_left_behind(samples):
    assert samples.without_labels().labels is None
    assert samples.without_labels().fingerprint() == samples.fingerprint()


def test_the_fingerprint_is_that_of_the_view(samples):
    assert samples.take(range(10)).fingerprint() == samples.fingerprint()
    assert samples.take([1, 2]).fingerprint() != samples.take([2, 1]).fingerprint()
    assert samples.take([3, 4]).fingerprint() == samples.take([5, 3, 4]).take([1, 2]).fingerprint()


def test_the_fingerprint_tells_inputs_apart():
    one, other = {"a": column(4), "b": column(4, 2.0)}, {"b": column(4), "a": column(4, 2.0)}
    assert Samples(one, source="").fingerprint() != Samples(other, source="").fingerprint()


def test_samples_cannot_be_changed(samples):
    with pytest.raises(FrozenInstanceError):
        samples.labels = None


def test_no_samples_are_an_error(samples):
    with pytest.raises(DataError, match="test: holds no samples"):
        samples.take([])
    with pytest.raises(DataError, match="test: holds no samples"):
        Samples({}, source="test")


def test_unequal_inputs_are_an_error():
    with pytest.raises(DataError, match=r"test: the inputs have different numbers of samples .'a' has 3, 'b' has 4"):
        Samples({"a": column(3), "b": column(4)}, source="test")


def test_labels_must_be_as_many():
    with pytest.raises(DataError, match="test: 2 labels for 3 samples"):
        Samples({"a": column(3)}, source="test", labels=np.arange(2))
