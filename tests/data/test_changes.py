import numpy as np
import pytest

from onnxshallow.data.changes import Changer
from onnxshallow.model.tensors import TensorInfo
from tests.networks import signed, smooth

COLOUR = TensorInfo("x", np.dtype(np.float32), ("N", 3, 8, 8))
LAST = TensorInfo("x", np.dtype(np.float32), ("N", 8, 8, 3))
BYTES = TensorInfo("x", np.dtype(np.uint8), ("N", 3, 8, 8))
SIGNAL = TensorInfo("x", np.dtype(np.float32), ("N", 4, 50))
MEAN, STD = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.3, 0.25], np.float32)


def pixels(count=6, seed=0):
    """Images (count, 3, 8, 8) from 0 to 1 that reach both ends in every channel."""
    images = np.clip(0.5 + 0.5 * smooth(count, 3, 8, seed), 0, 1)
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 1
    return images


def standardized(images):
    return ((images - MEAN[:, None, None]) / STD[:, None, None]).astype(np.float32)


def back(values):
    return values * STD[:, None, None] + MEAN[:, None, None]


def changed(change, images):
    batch = {"x": standardized(images)}
    return back(Changer.of([COLOUR], [batch]).changed(batch, change)["x"])


def test_black_and_white_are_read_from_the_samples():
    changer = Changer.of([COLOUR], [{"x": standardized(pixels())}, {"x": standardized(0.5 * pixels())}])
    np.testing.assert_allclose(changer.black["x"], -MEAN / STD, rtol=1e-5)
    np.testing.assert_allclose(changer.white["x"], (1 - MEAN) / STD, rtol=1e-5)


@pytest.mark.parametrize(("change", "factor"), [("brightness x0.5", 0.5), ("brightness x1.5", 1.5)])
def test_brightness_is_that_of_pixels_whatever_the_preprocessing(change, factor):
    np.testing.assert_allclose(changed(change, pixels()), np.clip(factor * pixels(), 0, 1), atol=1e-6)


def test_floats_may_go_beyond_white_and_bytes_may_not():
    np.testing.assert_allclose(changed("beyond white x1.5", pixels()), 1.5 * pixels(), atol=1e-6)
    batch = {"x": np.rint(255 * pixels()).astype(np.uint8)}
    found = Changer.of([BYTES], [batch]).changed(batch, "beyond white x1.5")["x"]
    np.testing.assert_allclose(found, np.minimum(255, 1.5 * batch["x"]), atol=1)


@pytest.mark.parametrize(("change", "factor"), [("contrast x0.5", 0.5), ("contrast x2", 2.0)])
def test_contrast_is_about_the_mean_of_each_image(change, factor):
    middle = pixels().mean(axis=(1, 2, 3), keepdims=True)
    expected = np.clip(middle + factor * (pixels() - middle), 0, 1)
    np.testing.assert_allclose(changed(change, pixels()), expected, atol=1e-5)


def test_noise_has_the_strength_that_it_says_and_is_the_same_each_time():
    grey = np.full((40, 3, 8, 8), 0.5, np.float32)
    grey[0, :, 0, 0], grey[0, :, 0, 1] = 0, 1
    first, second = (changed("noise 0.1", grey) for _ in range(2))
    assert np.std(first - grey) == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(first, second)


def test_blurred_images_are_smoother_and_as_bright():
    rough = np.random.default_rng(0).random((6, 3, 8, 8)).astype(np.float32)
    found = changed("blur", rough)
    assert np.std(found) < 0.6 * np.std(rough)
    assert found.mean() == pytest.approx(rough.mean(), abs=0.02)


def test_a_lossy_file_is_near_the_image_and_not_it():
    grey = pixels().mean(axis=1, keepdims=True).repeat(3, axis=1)
    grey[0, :, 0, 0], grey[0, :, 0, 1] = 0, 1
    found = changed("JPEG 75", grey)
    assert 0 < np.sqrt(np.mean((found - grey) ** 2)) < 0.1
    np.testing.assert_allclose(255 * found, np.rint(255 * found), atol=1e-2)


def test_a_grey_image_can_be_a_lossy_file_and_more_channels_stay_as_they_are():
    for channels, same in ((1, False), (5, True)):
        info = TensorInfo("x", np.dtype(np.float32), ("N", channels, 8, 8))
        batch = {"x": np.random.default_rng(0).random((4, channels, 8, 8)).astype(np.float32)}
        found = Changer.of([info], [batch]).changed(batch, "JPEG 75")["x"]
        assert np.allclose(found, batch["x"], atol=1e-6) == same
        assert found.shape == batch["x"].shape


def test_saturated_images_are_black_and_white():
    found = changed("saturated", pixels())
    assert set(np.unique(np.round(found, 5))) == {0, 1}


def test_channels_may_come_last():
    first, last = {"x": standardized(pixels())}, {"x": standardized(pixels()).transpose(0, 2, 3, 1).copy()}
    for change in Changer.of([COLOUR], [first]).changes:
        one = Changer.of([COLOUR], [first]).changed(first, change)["x"]
        other = Changer.of([LAST], [last]).changed(last, change)["x"]
        np.testing.assert_allclose(other.transpose(0, 3, 1, 2), one, atol=1e-5)


def test_bytes_stay_bytes():
    batch = {"x": np.rint(255 * pixels()).astype(np.uint8)}
    found = Changer.of([BYTES], [batch]).changed(batch, "brightness x1.5")["x"]
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, np.minimum(255, 1.5 * batch["x"]), atol=1)


def test_signals_are_scaled_and_disturbed_and_indices_are_not():
    batch = {"x": signed((6, 4, 50)), "index": np.arange(6)}
    inputs = [SIGNAL, TensorInfo("index", np.dtype(np.int64), ("N",))]
    changer = Changer.of(inputs, [batch])
    assert "scaled x1.5" in changer.changes
    for change in changer.changes:
        found = changer.changed(batch, change)
        assert not np.array_equal(found["x"], batch["x"])
        np.testing.assert_array_equal(found["index"], batch["index"])
    np.testing.assert_allclose(changer.changed(batch, "scaled x1.5")["x"], 1.5 * batch["x"])


def test_what_goes_with_an_image_stays():
    batch = {"x": standardized(pixels()), "size": signed((6, 2))}
    inputs = [COLOUR, TensorInfo("size", np.dtype(np.float32), ("N", 2))]
    changer = Changer.of(inputs, [batch])
    for found in (
        changer.changed(batch, "blur"), changer.plain(batch),
        changer.disturbed(batch, 0.3, np.random.default_rng(0)),
    ):  # fmt: skip
        np.testing.assert_array_equal(found["size"], batch["size"])
        assert found["x"].dtype == np.float32


def test_plain_images_hold_black_white_grey_and_the_corners_of_the_cube():
    batch = {"x": standardized(pixels(11))}
    found = back(Changer.of([COLOUR], [batch]).plain(batch)["x"])
    assert np.ptp(found, axis=(2, 3)).max() < 1e-5
    colours = {tuple(np.round(image[:, 0, 0], 3)) for image in found}
    assert colours == {(0.5, 0.5, 0.5), *((a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1))}


@pytest.mark.parametrize("strength", [0.05, 0.5])
def test_disturbed_images_stay_within_black_and_white_and_differ_more_the_stronger_it_is(strength):
    batch = {"x": standardized(pixels(20))}
    changer, generator = Changer.of([COLOUR], [batch]), np.random.default_rng(0)
    found = [back(changer.disturbed(batch, strength, generator)["x"]) for _ in range(4)]
    assert min(each.min() for each in found) > -1e-5
    assert max(each.max() for each in found) < 1 + 1e-5
    moved = np.sqrt(np.mean([(each - pixels(20)) ** 2 for each in found]))
    assert 0.3 * strength < moved < 3 * strength
    assert not np.array_equal(found[0], found[1])


def test_what_is_beyond_white_is_disturbed_there():
    batch = {"x": standardized(pixels(20))}
    changer = Changer.of([COLOUR], [batch])
    brighter = changer.changed(batch, "beyond white x1.5")
    before, found = (
        back(each["x"]) for each in (brighter, changer.disturbed(brighter, 0.1, np.random.default_rng(0)))
    )
    assert found.min() > -1e-5
    assert np.all(found.max(axis=(1, 2, 3)) < np.maximum(before.max(axis=(1, 2, 3)), 1) + 1e-5)
    assert found.max() > 1.2
