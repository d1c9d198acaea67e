"""Many samples out of few: images are flipped, shifted, and laid over each other, each batch in another way.

A teacher answers for whatever it is shown, so what is done to an image needs no label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.images import ImageInput
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.validation.kinds import OutputKind, class_places
from onnxshallow.validation.metrics import agreement

__all__ = ["CHANCES", "Augment", "Augmentation", "usual"]

Augment = Literal["none", "flip", "crop", "mixup"]
"""What is done to images; each does what those before it do as well."""

CHANCES = 5
"""How many random numbers decide what is done to an image."""

# Images are shifted by up to this share of their size.
_SHIFT = 1 / 8
# What is done to images must leave so many of them what they are.
_RECOGNISED = 0.85


def usual(
    inputs: Sequence[TensorInfo],
    kinds: Sequence[OutputKind],
    run: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]],
    batches: Sequence[Mapping[str, np.ndarray]],
) -> Augment:
    """What is done where the user did not say: as much as leaves images what they are, as the teacher sees them.

    A mirrored 7 is no digit, and a map of 8 pixels has none to spare; learning from such images taught nothing
    (docs/decisions/training.md). Images that may be shifted are also mixed.

    Args:
        inputs: the network's.
        kinds: what its outputs mean; places, such as boxes, would move with the image, and so would masks.
        run: the teacher.
        batches: samples to show to it, as they are and changed.
    """
    images = [image for info in inputs if (image := ImageInput.from_tensor(info)) is not None]
    if len(images) != len(inputs) or any(kind.kind != "classes" for kind in kinds):
        return "none"
    chosen: Augment = "none"
    for kind in ("flip", "crop"):
        if _recognised(Augmentation.of(kind, inputs), kinds, run, batches) < _RECOGNISED:
            return chosen
        chosen = kind
    return "mixup"


def _recognised(
    augmentation: "Augmentation",
    kinds: Sequence[OutputKind],
    run: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]],
    batches: Sequence[Mapping[str, np.ndarray]],
) -> float:
    """The share of changed samples that the teacher takes for what it takes them for as they are."""
    generator, same = np.random.default_rng(0), list[float]()
    for batch in batches:
        count = len(next(iter(batch.values())))
        answers = zip(kinds, run(batch), run(augmentation(batch, generator.random((count, CHANCES)))), strict=True)
        places = [place for kind, first, second in answers for place in class_places(kind, first, second, count)]
        same += [agreement(place.first, place.second) for place in places]
    return float(np.mean(same)) if same else 0.0


@dataclass(frozen=True)
class Augmentation:
    """Changes batches.

    Attributes:
        kind: what is done.
        images: how inputs that are images are laid out, by name; others stay as they are.
    """

    kind: Augment
    images: Mapping[str, ImageInput]

    @classmethod
    def of(cls, kind: Augment, inputs: Sequence[TensorInfo]) -> "Augmentation":
        """What can be done to the inputs of a network."""
        found = {info.name: ImageInput.from_tensor(info) for info in inputs}
        return cls(kind, {name: image for name, image in found.items() if image is not None})

    def __call__(
        self,
        batch: Mapping[str, np.ndarray],
        chances: NDArray[np.float64],
        others: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """A batch changed, each image in a way of its own.

        Args:
            batch: arrays (N, ...) by input name.
            chances: (N, `CHANCES`) numbers from 0 to below 1, which decide what is done to each image.
            others: images like those of `batch`, to lay over them; by default it is none.
        """
        turned, moves, share = chances[:, 0] < 0.5, chances[:, 1:3], _shares(chances[:, 3], chances[:, 4])
        result = dict(batch)
        for name, image in self.images.items():
            values = result[name]
            rows, columns = (1, 2) if image.channels_last else (2, 3)
            if self.kind != "none":
                values = np.where(turned[:, None, None, None], np.flip(values, columns), values)
            if self.kind in ("crop", "mixup"):
                values = _shifted(values, rows, columns, moves)
            if others is not None and self.kind == "mixup" and values.dtype.kind == "f":
                part = share.astype(values.dtype)[:, None, None, None]
                values = (1 - part) * values + part * others[name]
            result[name] = values
        return result


def _shares(whether: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of another image is laid over each: over half of them, up to as much of it (arXiv 1710.09412)."""
    return np.where(whether < 0.5, 0.5 * share, 0.0)


def _shifted(values: np.ndarray, rows: int, columns: int, moves: NDArray[np.float64]) -> np.ndarray:
    """Each image moved by a few pixels; what comes in at an edge is the image's mirror image.

    Args:
        values: images (N, ...).
        rows: their axis.
        columns: theirs.
        moves: (N, 2) numbers from 0 to below 1: from the furthest up or left to the furthest down or right.
    """
    reach = [max(1, int(values.shape[axis] * _SHIFT)) for axis in (rows, columns)]
    reach = [min(most, values.shape[axis] - 1) for most, axis in zip(reach, (rows, columns), strict=True)]
    pads = [(0, 0)] * 4
    pads[rows], pads[columns] = ((most, most) for most in reach)
    wide = np.pad(values, pads, mode="reflect")
    starts = (moves * [2 * most + 1 for most in reach]).astype(np.intp)
    made = np.empty_like(values)
    for place, (top, left) in enumerate(starts):
        window = [slice(None)] * 3
        window[rows - 1] = slice(top, top + values.shape[rows])
        window[columns - 1] = slice(left, left + values.shape[columns])
        made[place] = wide[place][tuple(window)]
    return made
