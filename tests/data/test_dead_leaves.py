import numpy as np
import pytest

from onnxshallow.data.dead_leaves import dead_leaves


def correlation(images, distance):
    grey = images.astype(float).mean(axis=-1)
    grey -= grey.mean()
    return (grey[:, :, distance:] * grey[:, :, :-distance]).mean() / grey.var()


def test_images_have_the_statistics_of_photographs():
    """CIFAR-10's training images have correlations of 0.93, 0.69 and 0.52, and 0.91 between red and green."""
    images = dead_leaves(200, 3, 32, 32, seed=0)
    assert (images.dtype, images.shape) == (np.uint8, (200, 32, 32, 3))
    assert correlation(images, 1) == pytest.approx(0.93, abs=0.03)
    assert correlation(images, 4) == pytest.approx(0.69, abs=0.1)
    assert correlation(images, 8) == pytest.approx(0.52, abs=0.1)
    assert np.corrcoef(images[..., 0].ravel(), images[..., 1].ravel())[0, 1] == pytest.approx(0.91, abs=0.05)
    assert 50 < images.std() < 80


def test_leaves_may_be_larger_and_fainter():
    usual, coarse = dead_leaves(100, 1, 32, 32, 0), dead_leaves(100, 1, 32, 32, 0, scale=4.0)
    assert correlation(coarse, 4) > correlation(usual, 4) + 0.1
    assert dead_leaves(100, 1, 32, 32, 0, contrast=0.5).std() < 0.7 * usual.std()


def test_the_seed_decides():
    first, again, other = (dead_leaves(2, 1, 16, 16, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(("height", "width", "channels"), [(1, 1, 1), (2, 40, 5), (70, 3, 3)])
def test_odd_sizes(height, width, channels):
    assert dead_leaves(2, channels, height, width, seed=0).shape == (2, height, width, channels)
