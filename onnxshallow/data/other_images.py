"""Made-up images of other sorts than dead leaves: noise as of photographs, shades, strokes.

Baradad et al., "Learning to see by looking at noise" (NeurIPS 2021), compares what can be learned from such images.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

__all__ = ["shades", "spectral", "strokes"]

_GREY = 120.0  # mean brightness, in grey levels
_CONTRAST = 60.0  # standard deviation of brightness, in grey levels
_EXPOSURE = 0.7  # the share of it by which images differ as a whole
_CHROMA = 0.35  # the share of it that each channel varies by on its own
_GRAIN = 2.0  # sensor noise, in grey levels
_MOST_EDGES, _MOST_STROKES = 3, 6
_END = 2.0  # contrasts from the middle to black, and to white
_THIN, _THICK = 0.02, 0.06  # half the width of strokes, as a share of the image's length

_Paint = Callable[[int, int, int, np.random.Generator], NDArray[np.float64]]


def _images(paint: _Paint, count: int, channels: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Paints images.

    Args:
        paint: gives one image (H, W, C) in units of the contrast, around zero.
        count: number of images.
        channels: number of channels.
        height: pixels.
        width: pixels.
        seed: the same seed gives the same images.

    Returns:
        (N, H, W, C) uint8.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, height, width, channels), dtype=np.uint8)
    for image in images:
        painted = paint(channels, height, width, rng) + _EXPOSURE * rng.normal()
        grain = rng.normal(scale=_GRAIN, size=image.shape)
        image[...] = np.clip(np.rint(_GREY + _CONTRAST * painted + grain), 0, 255)
    return images


def _spectral(channels: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise whose amplitude falls as 1/f, as that of photographs does, without edges."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    falloff = 1 / np.maximum(frequency, 1 / max(height, width))
    # One layer for the brightness, and one a channel for the colours.
    spectrum = np.fft.rfft2(rng.normal(size=(height, width, 1 + channels)), axes=(0, 1)) * falloff[..., np.newaxis]
    noise = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
    noise /= np.maximum(noise.std(axis=(0, 1)), 1e-6)
    return np.asarray(noise[..., :1] + _CHROMA * noise[..., 1:])


def _shades(channels: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth shades with a few straight edges across the whole image: skies, walls, what is out of focus."""
    rows, columns = np.mgrid[:height, :width] / max(height, width, 2) - 0.5
    shapes: list[NDArray[np.float64]] = [rows, columns, rows * columns, rows**2, columns**2]
    for _ in range(rng.integers(1, _MOST_EDGES + 1)):
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.35)
        shapes.append(np.where(np.cos(angle) * rows + np.sin(angle) * columns > offset, 1.0, 0.0))
    return np.asarray(np.stack(shapes, axis=-1) @ _colours(len(shapes), channels, rng))


def _strokes(channels: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A few straight strokes on a plain ground, dark on light or light on dark: writing, drawings, signs."""
    length = max(height, width)
    points = np.moveaxis(np.mgrid[:height, :width], 0, -1)
    drawn = np.zeros((height, width))
    for _ in range(rng.integers(2, _MOST_STROKES + 1)):
        start, end = rng.random((2, 2)) * (height, width)
        along = (points - start) @ (end - start) / max(float(np.sum((end - start) ** 2)), 1e-9)
        nearest = start + np.clip(along, 0, 1)[..., np.newaxis] * (end - start)
        distance = np.linalg.norm(points - nearest, axis=-1)
        drawn = np.maximum(drawn, np.clip(rng.uniform(_THIN, _THICK) * length + 0.5 - distance, 0, 1))
    ends = np.array([[_END], [-_END]]) * rng.choice((-1, 1))
    ground, ink = ends + _CHROMA * rng.normal(size=(2, channels))
    return np.asarray(ground + drawn[..., np.newaxis] * (ink - ground))


def _colours(count: int, channels: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """So many colours, (count, C), whose channels vary together."""
    return np.asarray(rng.normal(size=(count, 1)) + _CHROMA * rng.normal(size=(count, channels)))


spectral, shades, strokes = partial(_images, _spectral), partial(_images, _shades), partial(_images, _strokes)
