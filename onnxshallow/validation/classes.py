"""Where two classifiers agree, class by class, and the samples on which they do not."""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.validation.kinds import Place
from onnxshallow.validation.metrics import FloatArray, as_log_probabilities

__all__ = ["MOST_CHANGED", "Changed", "ClassCount", "ClassTally", "predictions"]

MOST_CHANGED = 100
"""How many samples whose class changed are kept, those first of which the first model was most sure."""


@dataclass(frozen=True)
class ClassCount:
    """One class in numbers; only classes that have samples are listed.

    Attributes:
        label: the class: of the labels or, where there are none, as the first model predicts it.
        samples: samples of that class.
        agree: on how many of them both models say the same.
        original_correct: how many of them the first model gets right; None without labels.
        optimized_correct: likewise for the second.
    """

    label: int
    samples: int
    agree: int
    original_correct: int | None = None
    optimized_correct: int | None = None


@dataclass(frozen=True)
class Changed:
    """A sample to which the second model gives another class.

    Where samples have several classes, what is said is of the first of them that changed.

    Attributes:
        index: which sample, counted from 0 in the order of the comparison, or in the data source once that is known.
        name: its file, relative to the folder of images; None for other sources.
        label: its class, where that is known.
        original: the first model's class; None where its scores are no numbers.
        optimized: the second's, likewise.
        original_score: the probability that the first model gives its own class.
        optimized_score: the probability that the second gives its own.
        output: which output tells the class, where samples have several; else None.
    """

    index: int
    name: str | None
    label: int | None
    original: int | None
    optimized: int | None
    original_score: float | None
    optimized_score: float | None
    output: str | None = None


def predictions(scores: FloatArray) -> NDArray[np.intp]:
    """The most likely class of each sample; -1 where a score is NaN or the largest is infinite.

    A score of -inf is that of a class that is masked out.

    Args:
        scores: (N, K) class scores.

    Returns:
        (N,) classes.
    """
    usable = np.isfinite(scores.max(axis=1))  # a NaN is passed on by max
    return np.where(usable, scores.argmax(axis=1), -1)


class ClassTally:
    """Counts over batches. Classes are counted one by one where samples have one each."""

    def __init__(self) -> None:
        self.changed_total = 0
        self._counts: NDArray[np.int64] | None = None  # samples, agreeing, right by the first, right by the second
        self._changed: list[tuple[float, int, Changed]] = []
        self._samples = 0
        self._told = Counter[int]()  # how often the first says which classes, by a hash of these

    def add(self, places: Sequence[Place], labels: NDArray[Any] | None) -> None:
        """Add one batch.

        Args:
            places: at which samples have a class, Q of them.
            labels: (N, Q) classes, from 0 to K - 1 at each place, or None.
        """
        a = np.stack([predictions(place.first) for place in places], axis=1)
        b = np.stack([predictions(place.second) for place in places], axis=1)
        same = (a == b) & (a >= 0)
        self._told.update(hash(classes.tobytes()) for classes in a)
        if len(places) == 1:
            self._count(places[0], a[:, 0], b[:, 0], None if labels is None else labels[:, 0])
        rows = np.flatnonzero(~same.all(axis=1))
        self.changed_total += len(rows)
        which = same.argmin(axis=1)
        for number in np.unique(which[rows]):
            own = None if labels is None else labels[:, number]
            self._keep(rows[which[rows] == number], places[number], own, len(places) > 1)
        self._samples += len(a)

    def _count(self, place: Place, a: NDArray[np.intp], b: NDArray[np.intp], labels: NDArray[Any] | None) -> None:
        same = (a == b) & (a >= 0)
        of = a if labels is None else labels
        tallied = [same] if labels is None else [same, a == labels, b == labels]
        if self._counts is None:
            self._counts = np.zeros((1 + len(tallied), place.first.shape[1]), np.int64)
        for row, which in zip(self._counts, [of >= 0, *tallied], strict=True):
            row += np.bincount(of[which], minlength=len(row))

    def _keep(self, rows: NDArray[np.intp], place: Place, labels: NDArray[Any] | None, named: bool) -> None:
        pair = [scores[rows] for scores in (place.first, place.second)]
        classes = [predictions(scores) for scores in pair]
        scores = [_own(own, chosen) for own, chosen in zip(pair, classes, strict=True)]
        for at, row in enumerate(rows):
            before, after = (int(each[at]) if each[at] >= 0 else None for each in classes)
            sure, then = (None if np.isnan(each[at]) else float(each[at]) for each in scores)
            index = self._samples + int(row)
            label = None if labels is None else int(labels[row])
            output = place.output if named else None
            change = Changed(index, None, label, before, after, sure, then, output)
            entry = (-1.0 if sure is None else sure, -index, change)
            if len(self._changed) < MOST_CHANGED:
                heapq.heappush(self._changed, entry)
            else:
                heapq.heappushpop(self._changed, entry)

    @property
    def commonest(self) -> float:
        """Share of samples to which the first model gives the classes that it gives most often."""
        return max(self._told.values(), default=0) / max(self._samples, 1)

    def classes(self) -> tuple[ClassCount, ...]:
        """The classes that have samples."""
        if self._counts is None:
            return ()
        present = np.flatnonzero(self._counts[0])
        return tuple(ClassCount(int(label), *map(int, self._counts[:, label])) for label in present)

    def changed(self) -> tuple[Changed, ...]:
        """The samples kept, the surest first."""
        return tuple(change for *_, change in sorted(self._changed, reverse=True))


def _own(scores: FloatArray, classes: NDArray[np.intp]) -> NDArray[np.float64]:
    """The probability of each sample's own class, (N,); NaN where there is no class."""
    own = np.full(len(scores), np.nan)
    known = np.flatnonzero(classes >= 0)
    if len(known):
        own[known] = np.exp(as_log_probabilities(scores[known])[np.arange(len(known)), classes[known]])
    return own
