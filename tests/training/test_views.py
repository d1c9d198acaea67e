import numpy as np
import pytest

from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.samples import Samples
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.training.augmentation import Augmentation
from onnxshallow.training.views import ALONE, Views
from tests.networks import smooth

FLOAT = np.dtype(np.float32)


def views(kind="none", images=None, seed=0):
    images = smooth(24, 3, 16) if images is None else images
    augmentation = Augmentation.of(kind, [TensorInfo("x", FLOAT, ("N", *images.shape[1:]))])
    return Views(Samples({"x": ArrayColumn(images, FLOAT)}, "images"), augmentation, seed)


def test_each_epoch_shows_every_sample_once():
    shown = {}
    for step in range(9):  # of 16, so that a batch may see two epochs of 24
        for epoch, rows in views().rows(step, 16):
            shown.setdefault(epoch, []).extend(rows)
    assert {epoch: sorted(rows) for epoch, rows in shown.items()} == {epoch: list(range(24)) for epoch in range(6)}
    assert shown[0] != shown[1]


@pytest.mark.parametrize("kind", ["flip", "crop", "mixup"])
def test_a_view_shows_a_sample_always_in_the_same_way(kind):
    made = views(kind)
    first = made.show(0, np.arange(24))["x"]
    assert not np.array_equal(first, made.show(1, np.arange(24))["x"])
    assert not np.array_equal(first, views(kind, seed=1).show(0, np.arange(24))["x"])
    made.show(2, np.arange(3))
    np.testing.assert_array_equal(made.show(0, np.array([5, 2]))["x"], first[[5, 2]])


def test_other_images_are_laid_over_some_but_not_at_first():
    images = np.stack([np.full((3, 16, 16), value, np.float32) for value in range(24)])
    for view in range(ALONE):
        np.testing.assert_array_equal(views("mixup", images).show(view, np.arange(24))["x"], images)
    values = views("mixup", images).show(ALONE, np.arange(24))["x"][:, 0, 0, 0]
    mixed = values != np.arange(24)
    assert 4 < mixed.sum() < 20
    assert len(np.unique(np.sign(values - np.arange(24))[mixed])) == 2
