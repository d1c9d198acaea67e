import numpy as np
import pytest

from onnxshallow.model.tensors import TensorInfo
from onnxshallow.training.augmentation import CHANCES, Augmentation, usual
from onnxshallow.validation.kinds import OutputKind
from tests.networks import smooth

FLOAT = np.dtype(np.float32)
IMAGE = TensorInfo("x", FLOAT, ("N", 3, 16, 16))
LAST = TensorInfo("x", FLOAT, ("N", 16, 16, 3))
VECTOR = TensorInfo("v", FLOAT, ("N", 16))
CLASSES, BOXES = OutputKind("y", "classes", ""), OutputKind("y", "boxes", "")


def changed(kind, images, info=IMAGE, seed=0):
    chances = np.random.default_rng(seed).random((len(images), CHANCES))
    return Augmentation.of(kind, [info])({"x": images}, chances, {"x": np.roll(images, 1, axis=0)})["x"]


def test_nothing_is_done():
    images = smooth(4, 3, 16)
    np.testing.assert_array_equal(changed("none", images), images)


@pytest.mark.parametrize("last", [False, True])
def test_some_images_are_flipped(last):
    images = smooth(32, 3, 16)
    given, info = (images.transpose(0, 2, 3, 1), LAST) if last else (images, IMAGE)
    made = changed("flip", given, info)
    made = made.transpose(0, 3, 1, 2) if last else made
    turned = [np.array_equal(one, before[..., ::-1]) for one, before in zip(made, images, strict=True)]
    same = [np.array_equal(one, before) for one, before in zip(made, images, strict=True)]
    assert all(a != b for a, b in zip(turned, same, strict=True))
    assert 4 < sum(turned) < 28


def test_images_are_shifted_by_a_few_pixels():
    images = smooth(16, 3, 16)
    made = changed("crop", images)
    shifts = [(a, b) for a in range(-2, 3) for b in range(-2, 3)]
    for one, before in zip(made, images, strict=True):
        middles = [
            np.roll(way, shift, axis=(1, 2))[:, 2:-2, 2:-2] for way in (before, before[..., ::-1]) for shift in shifts
        ]
        assert any(np.array_equal(one[:, 2:-2, 2:-2], middle) for middle in middles)


def test_half_of_the_images_are_mixed():
    images = np.stack([np.full((3, 16, 16), value, np.float32) for value in range(64)])
    made = changed("mixup", images)
    assert np.ptp(made.reshape(64, -1), axis=1).max() < 1e-4
    assert 16 < np.count_nonzero(made[:, 0, 0, 0] != images[:, 0, 0, 0]) < 48


def test_other_inputs_stay():
    batch = {"x": smooth(8, 3, 16), "v": np.ones((8, 16), np.float32)}
    augmentation = Augmentation.of("mixup", [IMAGE, VECTOR])
    chances = np.random.default_rng(5).random((8, CHANCES))
    made = augmentation(batch, chances, {"x": batch["x"][::-1]})
    assert not np.array_equal(made["x"], batch["x"])
    assert made["v"] is batch["v"]


def test_an_image_is_changed_by_its_own_numbers_whatever_it_is_beside():
    images, chances = smooth(8, 3, 16), np.random.default_rng(5).random((8, CHANCES))
    augmentation = Augmentation.of("crop", [IMAGE])
    whole, part = augmentation({"x": images}, chances)["x"], augmentation({"x": images[3:5]}, chances[3:5])["x"]
    np.testing.assert_array_equal(whole[3:5], part)


def sums(batch):
    """A teacher to whom neither flips nor small shifts matter."""
    means = batch["x"].mean(axis=(2, 3))
    return [means]


def left_half(batch):
    """A teacher who asks which half is brighter."""
    images = batch["x"].mean(axis=1)
    return [np.stack([images[:, :, :8].mean(axis=(1, 2)), images[:, :, 8:].mean(axis=(1, 2))], axis=1)]


@pytest.mark.parametrize(
    ("inputs", "kinds", "teacher", "expected"),
    [
        ([IMAGE], [CLASSES], sums, "mixup"),
        ([IMAGE], [CLASSES], left_half, "none"),
        ([IMAGE], [BOXES], sums, "none"),
        ([VECTOR], [CLASSES], sums, "none"),
    ],
)
def test_what_is_usual(inputs, kinds, teacher, expected):
    images = smooth(64, 3, 16) + np.repeat(np.eye(3, dtype=np.float32)[:, :, None, None] * 3, 22, axis=0)[:64]
    assert usual(inputs, kinds, teacher, [{"x": images}]) == expected
