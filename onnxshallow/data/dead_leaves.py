"""Dead-leaves images: overlapping random discs and boxes, simple images with statistics like photographs.

Leaves of radius r, drawn with density r^-3 so that no scale is special, hide each other and so make edges at
all scales and flat regions between them: Lee, Mumford and Huang, "Occlusion models for natural images"
(IJCV 41, 2001). That such images can stand in for photographs: Baradad et al., "Learning to see by looking at
noise" (NeurIPS 2021).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["dead_leaves"]

COVERAGE = 3.0  # the leaves' total area, in areas of the image
MAX_LEAVES = 1000
SMALLEST = 1.5  # radius in pixels; gives 32x32 images the correlations of CIFAR-10
CONTRAST = 60.0  # standard deviation of a leaf's brightness, in grey levels
CHROMA = 0.35  # the share of it that each channel varies by on its own
SHADING = 40.0  # change of brightness across a leaf as long as the image, in grey levels
GRAIN = 2.0  # sensor noise, in grey levels


def dead_leaves(
    count: int, channels: int, height: int, width: int, seed: int, *, scale: float = 1.0, contrast: float = 1.0
) -> NDArray[np.uint8]:
    """Paints images.

    Args:
        count: number of images.
        channels: number of channels; their colours are correlated as in photographs.
        height: pixels.
        width: pixels.
        seed: the same seed gives the same images.
        scale: how much larger the smallest leaves are than usual.
        contrast: how much stronger colours and shading vary than usual.

    Returns:
        (N, H, W, C) uint8.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, height, width, channels), dtype=np.uint8)
    for image in images:
        image[...] = _paint(channels, height, width, rng, scale, contrast)
    return images


def _paint(
    channels: int, height: int, width: int, rng: np.random.Generator, scale: float, contrast: float
) -> NDArray[np.uint8]:
    smallest = scale * max(SMALLEST, min(height, width) / 64)
    largest = max(2 * smallest, max(height, width) / 2)
    mean_area = 2 * np.pi * smallest**2 * np.log(largest / smallest)  # of a disc under the density r^-3
    leaves = int(np.clip(COVERAGE * height * width / mean_area, 30, MAX_LEAVES))

    # Inverse transform sampling of the density r^-3 between the two radii.
    radius = smallest / np.sqrt(1 - rng.random(leaves) * (1 - (smallest / largest) ** 2))
    centre = rng.random((leaves, 2)) * (height, width)
    # Half the leaves are boxes, up to twice as long as wide; the area stays that of the radius.
    aspect = np.exp2(rng.uniform(-0.5, 0.5, leaves))
    boxes = rng.random(leaves) < 0.5
    owner = _cover(height, width, radius, centre, aspect, boxes)

    colour = _colours(leaves, channels, rng, contrast)[owner]
    slope = rng.normal(scale=contrast * SHADING / max(height, width), size=(leaves, 2))[owner]
    rows, columns = np.mgrid[:height, :width]
    offset = np.stack([rows, columns], axis=-1) - centre[owner]
    pixels = colour + (slope * offset).sum(axis=-1, keepdims=True)
    pixels = _soften(_soften(pixels, axis=0), axis=1)
    pixels += rng.normal(scale=GRAIN, size=pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _cover(
    height: int,
    width: int,
    radius: NDArray[np.float64],
    centre: NDArray[np.float64],
    aspect: NDArray[np.float64],
    boxes: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """The leaf on top at each pixel, (H, W). Leaf 0 is the ground."""
    owner = np.zeros((height, width), dtype=np.intp)
    extent = np.where(
        boxes[:, np.newaxis], np.stack([radius * aspect, radius / aspect], axis=-1), radius[:, np.newaxis]
    )
    low = np.maximum(np.ceil(centre - extent), 0).astype(int)
    high = np.minimum(np.floor(centre + extent) + 1, (height, width)).astype(int)
    rows, columns = np.arange(height), np.arange(width)
    for leaf in range(1, len(radius)):
        (top, left), (bottom, right) = low[leaf], high[leaf]
        window = owner[top:bottom, left:right]
        if boxes[leaf]:
            window[...] = leaf
        else:
            vertical = (rows[top:bottom] - centre[leaf, 0]) ** 2
            horizontal = (columns[left:right] - centre[leaf, 1]) ** 2
            window[vertical[:, np.newaxis] + horizontal <= radius[leaf] ** 2] = leaf
    return owner


def _colours(leaves: int, channels: int, rng: np.random.Generator, contrast: float) -> NDArray[np.float64]:
    """One colour a leaf, (leaves, C): exposure of the image, brightness of the leaf, a little chroma."""
    brightness = rng.normal(size=(leaves, 1)) + 0.7 * rng.normal()
    chroma = rng.normal(size=(leaves, channels))
    return np.asarray(120.0 + contrast * CONTRAST * (brightness + CHROMA * chroma))


def _soften(pixels: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Blurs by [1, 3, 1] / 5 along an axis, as a lens does; the border repeats."""
    size = pixels.shape[axis]
    before = pixels.take(np.maximum(np.arange(size) - 1, 0), axis=axis)
    after = pixels.take(np.minimum(np.arange(size) + 1, size - 1), axis=axis)
    return np.asarray((before + 3 * pixels + after) / 5)
