"""Whether labels fit the network: where it is hardly ever right to begin with, nothing can be lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.validation.judgement import Finding
from onnxshallow.validation.statistics import wilson_interval

__all__ = ["LabelFit", "LabelTally", "class_folders", "labels_that_do_not_fit"]

# Parts of the way from guessing to being always right, by the upper end of the original's interval: up to the first
# labels do not fit, up to the second they do not where the lower end is no better than guessing.
_HOPELESS, _DOUBTFUL = 0.1, 0.25
# By how much labels may be off: counted from 1, or with a class for the background that the network lacks.
_SHIFTS = (-1, 1)
# A shift is told where the original is right on so many of the samples with it.
_TELLING = 0.5


@dataclass(frozen=True)
class LabelFit:
    """How often the first model is right.

    Attributes:
        classes: that it has.
        samples: with a label.
        right: on how many it says the label.
        shifted: on how many it says the label plus a number, by that number; after the last class comes the first.
        output: that tells these classes, where samples have several; else None.
    """

    classes: int
    samples: int
    right: int
    shifted: dict[int, int]
    output: str | None = None


class LabelTally:
    """Counts over batches.

    Args:
        output: see `LabelFit`.
    """

    def __init__(self, output: str | None = None) -> None:
        self._output = output
        self._classes = self._samples = self._right = 0
        self._shifted = dict.fromkeys(_SHIFTS, 0)

    def add(self, predicted: NDArray[np.intp], labels: NDArray[Any], classes: int) -> None:
        """Add one batch.

        Args:
            predicted: (N,) the first model's classes, -1 for none.
            labels: (N,) from 0 to `classes` - 1.
            classes: how many there are.
        """
        self._classes = classes
        self._samples += len(labels)
        self._right += int(np.sum(predicted == labels))
        for shift in _SHIFTS:
            self._shifted[shift] += int(np.sum(predicted == (labels + shift) % classes))

    def result(self) -> LabelFit:
        """What was counted."""
        return LabelFit(self._classes, self._samples, self._right, self._shifted, self._output)


def labels_that_do_not_fit(fit: LabelFit, source: str) -> list[Finding]:
    """What speaks against labels with which the original is no better than guessing.

    Args:
        fit: how often it is right.
        source: where the labels come from.
    """
    least, most = wilson_interval(fit.right, fit.samples)
    chance = 1.0 / fit.classes
    way = (most - chance) / (1.0 - chance)
    if way > (_DOUBTFUL if least <= chance else _HOPELESS):
        return []
    shift, count = max(fit.shifted.items(), key=lambda item: item[1])
    hint, own = "", "" if fit.output is None else f" for {fit.output!r}"
    if count > _TELLING * fit.samples:
        change = "added to" if shift > 0 else "taken from"
        hint = f" With {abs(shift)} {change} each label it is right on {_share(count, fit)}."
    return [
        Finding(
            "data",
            f"The labels of {source}{own} do not fit this network: the original is right on {_share(fit.right, fit)} "
            f"of {fit.samples} samples, hardly better than guessing among {fit.classes} classes, so nothing can be "
            f"lost.{hint} Give labels from 0 in the order of the network's outputs.",
            refuses=True,
        )
    ]


def class_folders(names: Sequence[str] | None, classes: int, source: str) -> list[Finding]:
    """What is to be said of folders that were taken for classes, where they are not as many as the network has.

    Args:
        names: of the folders; None where the samples do not come from folders.
        classes: that the network has.
        source: the folder that they are in.
    """
    if names is None or len(names) == classes:
        return []
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [Finding("data", f"{source} has {len(names)} class folders ({some}), the network {classes} classes.")]


def _share(count: int, fit: LabelFit) -> str:
    return f"{100 * count / fit.samples:.2f} %"
