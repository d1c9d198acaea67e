"""Inputs as the world may change them: another exposure, a noisy or blurred camera, a lossy file, a covered lens.

Nothing is known of how samples were preprocessed, so pixels are told by what the samples hold: the smallest value of
each channel is black, the largest white. Inputs that are no images are scaled, shifted and disturbed by noise.
"""

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.images import IMAGE_CHANNELS, ImageInput
from onnxshallow.model.tensors import TensorInfo

__all__ = ["CHANGES", "Changer"]

_Images = NDArray[np.float32]
"""(N, H, W, C), black 0 and white 1."""


def _blurred(images: _Images, generator: np.random.Generator) -> _Images:
    from scipy.ndimage import gaussian_filter

    blurred: _Images = gaussian_filter(images, (0, 1, 1, 0), mode="nearest")
    return blurred


def _as_jpeg(images: _Images, generator: np.random.Generator) -> _Images:
    from PIL import Image

    if images.shape[-1] not in IMAGE_CHANNELS:
        return images
    result = np.empty_like(images)
    for image, made in zip(images, result, strict=True):
        pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "JPEG", quality=75)
        made[...] = np.asarray(Image.open(file), np.float32).reshape(made.shape) / 255
    return result


def _contrasted(factor: float) -> Callable[[_Images, np.random.Generator], _Images]:
    def change(images: _Images, generator: np.random.Generator) -> _Images:
        middle = images.mean(axis=(1, 2, 3), keepdims=True)
        made: _Images = middle + factor * (images - middle)
        return made

    return change


_OF_IMAGES: Mapping[str, Callable[[_Images, np.random.Generator], _Images]] = {
    "brightness x0.5": lambda images, _: 0.5 * images,
    "brightness x1.5": lambda images, _: 1.5 * images,
    "beyond white x1.5": lambda images, _: 1.5 * images,
    "contrast x0.5": _contrasted(0.5),
    "contrast x2": _contrasted(2.0),
    "noise 0.1": lambda images, generator: images + generator.normal(0, 0.1, images.shape).astype(np.float32),
    "blur": _blurred,
    "JPEG 75": _as_jpeg,
    "saturated": lambda images, _: (images > images.mean(axis=(1, 2), keepdims=True)).astype(np.float32),
}
_OF_OTHERS: Mapping[str, Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]] = {
    "scaled x0.5": lambda values, _: 0.5 * values,
    "scaled x1.5": lambda values, _: 1.5 * values,
    "shifted": lambda values, _: values + 0.2 * values.std(),
    "noise 0.1": lambda values, generator: (
        values + generator.normal(0, 0.1, values.shape).astype(np.float32) * (values.max() - values.min())
    ),
}
# Floats may go beyond white, as no pixel does.
_BEYOND = "beyond white x1.5"
CHANGES = tuple(dict.fromkeys([*_OF_IMAGES, *_OF_OTHERS]))
"""The names of all changes; `Changer` knows which of them its inputs can undergo."""


def _disturbed(images: _Images, strength: float, generator: np.random.Generator) -> _Images:
    count, height, width, channels = images.shape

    def each(*size: int) -> NDArray[np.float32]:
        return strength * generator.normal(size=(count, *size)).astype(np.float32)

    middle = images.mean(axis=(1, 2), keepdims=True)
    made = middle + np.exp(2 * each(1, 1, 1)) * (images - middle) + each(1, 1, 1) + each(1, 1, channels)
    share = np.abs(each(1, 1, 1)).clip(0, 1)
    if generator.random() < 0.5:
        made = made + share * generator.normal(size=images.shape).astype(np.float32)
    else:
        other = np.roll(images, (1 + generator.integers(count), *generator.integers((height, width))), axis=(0, 1, 2))
        made = (1 - share) * made + share * other
    ends = (1, 2, 3)
    darkest = np.minimum(images.min(axis=ends, keepdims=True), 0)
    lightest = np.maximum(images.max(axis=ends, keepdims=True), 1)
    clipped: _Images = np.clip(made, darkest, lightest)
    return clipped


@dataclass(frozen=True, eq=False)
class Changer:
    """Changes batches of the inputs of one network.

    Attributes:
        images: how inputs that are images are laid out, by name; others are not named.
        black: the smallest value of each channel of these, (C,).
        white: the largest.
        seed: of noise.
    """

    images: Mapping[str, ImageInput]
    black: Mapping[str, NDArray[np.generic]]
    white: Mapping[str, NDArray[np.generic]]
    seed: int = 0

    @classmethod
    def of(
        cls, inputs: Sequence[TensorInfo], batches: Sequence[Mapping[str, np.ndarray]], seed: int = 0
    ) -> "Changer":
        """What can be done to `batches` and others of their kind.

        Args:
            inputs: the network's.
            batches: samples by input name, from which black and white are read.
            seed: of noise.
        """
        found = {info.name: ImageInput.from_tensor(info) for info in inputs}
        images = {name: image for name, image in found.items() if image is not None}
        black, white = (
            {
                name: end([end(_last(batch[name], image), axis=(0, 1, 2)) for batch in batches], axis=0)
                for name, image in images.items()
            }
            for end in (np.min, np.max)
        )
        return cls(images, black, white, seed)

    @property
    def changes(self) -> tuple[str, ...]:
        """The names of the changes that these inputs can undergo."""
        return tuple(_OF_IMAGES if self.images else _OF_OTHERS)

    def changed(self, batch: Mapping[str, np.ndarray], change: str) -> dict[str, np.ndarray]:
        """A batch after one of `changes`; inputs that are neither images nor floating-point stay as they are.

        Images end at black and white, but for the one change that goes beyond.

        Args:
            batch: arrays (N, ...) by input name.
            change: its name.
        """
        generator = np.random.default_rng((self.seed, CHANGES.index(change)))
        return {name: self._one(name, values, change, generator) for name, values in batch.items()}

    def _one(self, name: str, values: np.ndarray, change: str, generator: np.random.Generator) -> np.ndarray:
        image = self.images.get(name)
        if image is None:
            if self.images or values.dtype.kind != "f":
                return values
            return _OF_OTHERS[change](values.astype(np.float32), generator).astype(values.dtype)
        made = _OF_IMAGES[change](self._pixels(name, values), generator)
        beyond = change == _BEYOND and values.dtype.kind == "f"
        return self._values(name, made if beyond else np.clip(made, 0, 1), values.dtype)

    def _pixels(self, name: str, values: np.ndarray) -> _Images:
        black, white = (ends[name].astype(np.float32) for ends in (self.black, self.white))
        images = _last(values, self.images[name]).astype(np.float32)
        pixels: _Images = (images - black) / np.maximum(white - black, 1e-12)
        return pixels

    def _values(self, name: str, pixels: _Images, dtype: np.dtype) -> np.ndarray:
        black, white = (ends[name].astype(np.float32) for ends in (self.black, self.white))
        made = black + pixels * (white - black)
        made = np.rint(made) if dtype.kind in "iu" else made
        return np.ascontiguousarray(made if self.images[name].channels_last else made.transpose(0, 3, 1, 2), dtype)

    def disturbed(
        self, batch: Mapping[str, np.ndarray], strength: float, generator: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """A batch disturbed at random, each sample in a way of its own.

        Exposure, contrast, colours, and either noise or a part of another sample of the batch. Images stay within
        black and white, or as far beyond as they are already.

        Args:
            batch: arrays (N, ...) by input name; other than floating-point and image inputs stay as they are.
            strength: how far, in the range from black to white.
            generator: of the disturbances.
        """
        result = dict(batch)
        for name, values in batch.items():
            if name in self.images:
                pixels = self._pixels(name, values)
                result[name] = self._values(name, _disturbed(pixels, strength, generator), values.dtype)
            elif values.dtype.kind == "f" and not self.images:
                spread = strength * (values.max() - values.min())
                factors = np.exp(strength * generator.normal(size=(len(values), *(1,) * (values.ndim - 1))))
                noise = spread * generator.normal(size=values.shape)
                result[name] = (values * factors + noise).astype(values.dtype)
        return result

    def plain(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Black, white, grey, and the corners of the colour cube, in place of the images of `batch`.

        Args:
            batch: whose shapes and other inputs are taken; its first samples, as many as there are such images.
        """
        result = {}
        for name, values in batch.items():
            if name not in self.images:
                result[name] = values
                continue
            channels = len(self.black[name])
            levels = [[level] * channels for level in (0.0, 0.5, 1.0)]
            if channels <= 3:
                levels += [list(corner) for corner in itertools.product((0.0, 1.0), repeat=channels)]
            colours = np.resize(np.array(levels, np.float32), (len(values), channels))
            pixels = np.broadcast_to(colours[:, None, None, :], _last(values, self.images[name]).shape)
            result[name] = self._values(name, pixels, values.dtype)
        return result


def _last(values: np.ndarray, image: ImageInput) -> np.ndarray:
    """Images (N, H, W, C)."""
    return values if image.channels_last else values.transpose(0, 2, 3, 1)
