import numpy as np
import pytest

from onnxshallow.data.other_images import shades, spectral, strokes

SORTS = pytest.mark.parametrize("paint", [spectral, shades, strokes], ids=["spectral", "shades", "strokes"])


def neighbours(images):
    """Correlation of pixels with those beside them."""
    grey = images.astype(float).mean(axis=-1)
    grey -= grey.mean()
    return (grey[:, :, 1:] * grey[:, :, :-1]).mean() / grey.var()


@SORTS
def test_images_use_the_range_and_have_colours_that_vary_together(paint):
    images = paint(200, 3, 32, 32, seed=0)
    assert (images.dtype, images.shape) == (np.uint8, (200, 32, 32, 3))
    assert 40 < images.std() < 110
    assert 90 < images.mean() < 150
    assert 0.7 < np.corrcoef(images[..., 0].ravel(), images[..., 1].ravel())[0, 1] < 0.99


def test_noise_falls_off_as_that_of_photographs_does():
    grey = spectral(300, 1, 32, 32, seed=0)[..., 0].astype(float)
    power = np.mean(np.abs(np.fft.fft2(grey - grey.mean(axis=(1, 2), keepdims=True))) ** 2, axis=0)
    assert power[0, 2] / power[0, 8] == pytest.approx(16, rel=0.3)


def test_shades_are_smooth_but_for_a_few_edges():
    images = shades(100, 1, 32, 32, seed=0)
    assert neighbours(images) > 0.95
    jumps = np.abs(np.diff(images[..., 0].astype(int), axis=2)) > 30
    assert 0 < jumps.mean() < 0.1


def test_strokes_leave_most_of_the_ground_plain_and_stand_out_from_it():
    images = strokes(100, 1, 32, 32, seed=0)[..., 0].astype(int)
    ground = np.median(images, axis=(1, 2), keepdims=True)
    plain = np.abs(images - ground) < 10
    assert 0.6 < plain.mean() < 0.95
    assert np.mean([np.ptp(image) > 100 for image in images]) > 0.9
    assert 0.2 < (ground < 128).mean() < 0.8


@SORTS
def test_the_seed_decides(paint):
    first, again, other = (paint(2, 1, 16, 16, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@SORTS
@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 1), (2, 40, 5), (70, 3, 3)])
def test_odd_sizes(paint, height, width, channels):
    assert paint(2, channels, height, width, seed=0).shape == (2, height, width, channels)
