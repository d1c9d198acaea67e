"""The labelled images that the zoo's networks are trained and measured on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Images", "ImagesError", "load_cifar10", "load_digits"]


class ImagesError(Exception):
    """The images cannot be loaded; the message is a sentence that says why and what to do."""


@dataclass(frozen=True)
class Images:
    """Images of known class, in two parts; the network never sees the second one while it is trained.

    Attributes:
        train_x: (N, H, W, C) uint8. `train_y`: (N,) int64. They are also the calibration images, without
            labels.
        validation_x: (M, H, W, C) uint8. `validation_y`: (M,) int64.
        scale: what a uint8 is divided by, so that the brightest pixel is 1.
        mean: per channel, of the scaled training images.
        std: per channel, of the scaled training images.
    """

    train_x: NDArray[np.uint8]
    train_y: NDArray[np.int64]
    validation_x: NDArray[np.uint8]
    validation_y: NDArray[np.int64]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def preprocess(self, images: NDArray[np.uint8]) -> Tensor:
        """Turn (N, H, W, C) uint8 images into the network's (N, C, H, W) float32 input."""
        scaled = images.astype(np.float32) / np.float32(self.scale)
        normalized = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(normalized.transpose(0, 3, 1, 2)))


def load_digits(folder: Path | None = None) -> Images:
    """scikit-learn's digits, 1 797 8x8 images of grey levels 0..16: 1 200 to train on, 597 to validate.

    Args:
        folder: None; the digits need no folder.

    Raises:
        ImagesError: a folder is given.
    """
    if folder is not None:
        raise ImagesError("The digits come with scikit-learn; leave --images out.")
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    pixels = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    train_x, validation_x, train_y, validation_y = train_test_split(
        pixels, labels, train_size=1200, stratify=labels, random_state=0
    )
    scaled = train_x / 16.0
    mean, std = round(float(scaled.mean()), 4), round(float(scaled.std()), 4)
    return Images(train_x, train_y, validation_x, validation_y, scale=16, mean=(mean,), std=(std,))


def load_cifar10(folder: Path | None = None) -> Images:
    """CIFAR-10 from a folder with `train.npz` and `validation.npz`; mean and std are the usual ones.

    Args:
        folder: each of its two files holds `x`, (N, 32, 32, 3) uint8, and the classes `y`, (N,) integers.

    Raises:
        ImagesError: there is no such folder, or one of the files is not in it.
    """
    if folder is None:
        raise ImagesError("The images of CIFAR-10 are not in this repository; name their folder with --images.")
    train_x, train_y = _read(folder / "train.npz")
    validation_x, validation_y = _read(folder / "validation.npz")
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return Images(train_x, train_y, validation_x, validation_y, scale=255, mean=mean, std=std)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images and the classes of one file."""
    if not path.is_file():
        raise ImagesError(f"{path} is not there; --images names a folder with it.")
    with np.load(path) as file:
        return file["x"], file["y"].astype(np.int64)
