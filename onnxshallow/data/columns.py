"""Where the values of one network input are kept: in memory, as pixels, or in image files."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.images import ImageInput, channels_last, decode_image
from onnxshallow.data.preprocessing import RESIZED, RESIZING_OPTIONS, Preprocessing
from onnxshallow.errors import DataError

__all__ = ["ArrayColumn", "Column", "Digest", "FileColumn", "Indices", "PixelColumn"]

Indices = NDArray[np.intp]
"""Positions of samples, (K,)."""


class Digest(Protocol):
    """A hash that content is fed to."""

    def update(self, data: bytes, /) -> None:
        """Adds bytes."""


class Column(Protocol):
    """The samples of one network input."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def read(self, indices: Indices) -> NDArray[np.generic]:
        """The samples at these positions, batch first, as the network takes them.

        Raises:
            DataError: a sample cannot be read or has the wrong shape.
        """
        ...

    def hash_into(self, digest: Digest, indices: Indices) -> None:
        """Feeds the content at these positions, and all that changes how it is read, to a hash."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayColumn:
    """Values that are ready to be fed.

    Attributes:
        values: (N, ...), any element type.
        dtype: the element type that is handed out.
    """

    values: NDArray[np.generic]
    dtype: np.dtype

    def __len__(self) -> int:
        return len(self.values)

    def read(self, indices: Indices) -> NDArray[np.generic]:
        """See `Column.read`."""
        return np.ascontiguousarray(self.values[indices], dtype=self.dtype)

    def hash_into(self, digest: Digest, indices: Indices) -> None:
        """See `Column.hash_into`."""
        digest.update(f"array {self.values.dtype.str} {self.values.shape[1:]} {self.dtype}".encode())
        _hash_array(digest, self.values, indices)


@dataclass(frozen=True, eq=False)
class PixelColumn:
    """uint8 images in memory, preprocessed batch by batch.

    Attributes:
        pixels: (N, H, W, C) uint8, RGB.
        image: the input that they are for.
        preprocessing: how they are prepared.
    """

    pixels: NDArray[np.uint8]
    image: ImageInput
    preprocessing: Preprocessing

    @classmethod
    def from_array(
        cls, images: NDArray[np.uint8], image: ImageInput, preprocessing: Preprocessing, where: str
    ) -> "PixelColumn":
        """Wraps stored images after checking that they will fit the network.

        Images that already have the network's size are left at it, so that one set of options serves a folder
        of photographs and an array of images that are ready.

        Args:
            images: (N, H, W), (N, C, H, W) or (N, H, W, C) uint8.
            image: the input that they are for.
            preprocessing: how they are prepared.
            where: file and array, for messages.

        Raises:
            DataError: the layout or the size does not fit.
            UsageError: mean or std do not fit the channels.
        """
        pixels = channels_last(images, image, preprocessing.layout, where)
        height, width, channels = pixels.shape[1:]
        preprocessing.check_channels(channels)
        if (height, width) == (image.height, image.width):
            preprocessing = preprocessing.without_resizing()
        image.check_size(height, width, preprocessing, f"{where} of shape {images.shape}")
        return cls(pixels, image, preprocessing)

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: Indices) -> NDArray[np.generic]:
        """See `Column.read`."""
        pixels = self.pixels[indices]
        if self.preprocessing.resizes:
            pixels = np.stack([self.preprocessing.resized(one) for one in pixels])
        return self.image.feed(pixels, self.preprocessing)

    def hash_into(self, digest: Digest, indices: Indices) -> None:
        """See `Column.hash_into`."""
        digest.update(f"pixels {self.pixels.shape[1:]} {self.image} {self.preprocessing}".encode())
        _hash_array(digest, self.pixels, indices)


@dataclass(frozen=True, eq=False)
class FileColumn:
    """Image files, decoded batch by batch.

    Attributes:
        files: one image each.
        image: the input that they are for.
        preprocessing: how they are prepared.
    """

    files: tuple[Path, ...]
    image: ImageInput
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Indices) -> NDArray[np.generic]:
        """See `Column.read`."""
        images = [self._decode(self.files[index]) for index in indices]
        height, width, _ = images[0].shape
        for index, pixels in zip(indices, images, strict=True):
            if pixels.shape != images[0].shape:
                raise DataError(
                    f"{self.files[index]} has {pixels.shape[0]}x{pixels.shape[1]} pixels {RESIZED}, "
                    f"{self.files[indices[0]]} has {height}x{width}; bring all to one size with {RESIZING_OPTIONS}."
                )
        return self.image.feed(np.stack(images), self.preprocessing)

    def hash_into(self, digest: Digest, indices: Indices) -> None:
        """See `Column.hash_into`."""
        digest.update(f"files {self.image} {self.preprocessing}".encode())
        for index in indices:
            with self.files[index].open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())

    def _decode(self, path: Path) -> NDArray[np.uint8]:
        pixels = decode_image(path, self.image.channels or 3)
        height, width, _ = pixels.shape
        self.image.check_size(height, width, self.preprocessing, str(path))
        return self.preprocessing.resized(pixels)


def _hash_array(digest: Digest, values: NDArray[np.generic], indices: Indices, step: int = 256) -> None:
    for start in range(0, len(indices), step):
        digest.update(np.ascontiguousarray(values[indices[start : start + step]]).tobytes())
