"""All classes that a network tells, as two models tell them: agreement, divergence, right answers.

A sample may have several classes: of heads beside each other, or of the positions of a sequence. It counts as the
same, or as right, where all of them are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxshallow.errors import DataError
from onnxshallow.validation.classes import predictions
from onnxshallow.validation.kinds import OutputKind, Place, pixel_scores
from onnxshallow.validation.metrics import kl_divergence, top_k_correct
from onnxshallow.validation.statistics import beats_chance, largest_ratio, largest_share

__all__ = ["Answers", "HeadAgreement", "HeadsTally", "MaskTally"]

# Pixels are turned to float64 so many elements at a time.
_CHUNK = 1 << 22


@dataclass(frozen=True)
class HeadAgreement:
    """How far two models tell the same classes at one output.

    Attributes:
        agreement: share of samples with the same class, at a sequence with all classes the same; of a mask the share
            of pixels.
        kl: mean KL(first || second) in nats over its places; None where the output tells classes without scores.
        bound: of a mask, how small the agreement may be on other samples of the kind: the end of its 95 % interval.
    """

    agreement: float
    kl: float | None
    bound: float | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """Which samples two models answer right.

    Attributes:
        first: (N,) whether the first does, as its most likely class.
        second: (N,) likewise.
        first5: (N,) whether the label is among its five most likely; None where that means nothing.
        second5: (N,) likewise.
        output: the output that labels belong to; None where they are labels of all classes.
    """

    first: NDArray[np.bool_]
    second: NDArray[np.bool_]
    first5: NDArray[np.bool_] | None
    second5: NDArray[np.bool_] | None
    output: str | None


@dataclass
class _Head:
    """Sums over batches of one output."""

    agree: int = 0
    kl: float = 0.0
    scored: bool = False
    ruined: bool = False


@dataclass
class _Right:
    """Right answers at one place, or at all of them, batch by batch."""

    output: str | None
    classes: int
    batches: list[list[NDArray[np.bool_]]] = field(default_factory=list)

    def answers(self) -> Answers:
        first, second, *top5 = (np.concatenate(kept) for kept in zip(*self.batches, strict=True))
        first5, second5 = top5 if self.classes > 5 else (None, None)
        return Answers(first, second, first5, second5, self.output)


class HeadsTally:
    """Sums over batches of the outputs that tell classes.

    Args:
        temperature: by which the distributions are softened whose divergence is summed.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self.samples = 0
        self.agree = 0
        self._heads: dict[str, _Head] = {}
        self._right: dict[int, _Right | None] = {}  # by place; None where labels do not fit it
        self._labels: list[NDArray[np.int64]] = []

    @property
    def agreement(self) -> float | None:
        """Share of samples to which both models give the same classes; None where no output tells any."""
        return self.agree / self.samples if self._heads else None

    @property
    def heads(self) -> dict[str, HeadAgreement]:
        """Each output by its name."""
        return {
            name: HeadAgreement(
                head.agree / self.samples,
                None if not head.scored else float("inf") if head.ruined else head.kl / self.samples,
            )
            for name, head in self._heads.items()
        }

    def add(
        self, places: Sequence[Place], same: dict[str, NDArray[np.bool_]], labels: NDArray[Any] | None, samples: int
    ) -> None:
        """Add one batch of N samples.

        Args:
            places: at which samples have a class.
            same: (N,) whether the classes are the same, of outputs that tell them as whole numbers, by name.
            labels: (N,) classes, or (N, Q) of all Q places, or None.
            samples: N.

        Raises:
            DataError: labels do not fit the only place, or there are labels for another number of places.
        """
        agree = np.ones(samples, bool)
        for name, found in same.items():
            self._heads.setdefault(name, _Head()).agree += int(found.sum())
            agree &= found
        for name in dict.fromkeys(place.output for place in places):
            agree &= self._add_head(name, [place for place in places if place.output == name])
        self.agree += int(agree.sum())
        self.samples += samples
        if labels is not None:
            self._labels.append(labels)
        if places:
            self._judge(places, labels)

    def _add_head(self, name: str, places: Sequence[Place]) -> NDArray[np.bool_]:
        head = self._heads.setdefault(name, _Head())
        head.scored = True
        agree = np.ones(len(places[0].first), bool)
        for place in places:
            a, b = predictions(place.first), predictions(place.second)
            agree &= (a == b) & (a >= 0)
            head.ruined = head.ruined or bool(np.any(b < 0))
            if not head.ruined:
                divergence = kl_divergence(place.first, place.second, self._temperature)
                head.kl += float(np.sum(divergence)) / len(places)
        head.agree += int(agree.sum())
        return agree

    def _judge(self, places: Sequence[Place], labels: NDArray[Any] | None) -> None:
        if labels is None:
            return
        if labels.ndim == 2:
            self._judge_all(places, labels)
            return
        alone = len(places) == 1
        counts = [sum(other.output == place.output for other in places) for place in places]
        for number, (place, count) in enumerate(zip(places, counts, strict=True)):
            known = self._right.setdefault(number, _Right(None if alone else place.output, place.first.shape[1]))
            fits = alone or (count == 1 and 0 <= labels.min() <= labels.max() < place.first.shape[1])
            if known is None or not fits:
                self._right[number] = None
                continue
            rows = ((place.first, 1), (place.second, 1), (place.first, 5), (place.second, 5))
            known.batches.append([top_k_correct(scores, labels, k) for scores, k in rows])

    def _judge_all(self, places: Sequence[Place], labels: NDArray[Any]) -> None:
        if labels.shape[1] != len(places):
            raise DataError(
                f"There are {labels.shape[1]} labels a sample, but the network tells {len(places)} classes a sample; "
                "give one label for each, in the order of the outputs and of their positions."
            )
        right = [
            np.all([top_k_correct(scores, own, 1) for scores, own in zip(models, labels.T, strict=True)], axis=0)
            for models in ([place.first for place in places], [place.second for place in places])
        ]
        known = self._right.setdefault(0, _Right(None, 0))
        if known is not None:
            known.batches.append(right)

    def answers(self) -> Answers | None:
        """Right answers; None where there are no labels, or these fit no place.

        Labels belong to the only place, or to all. One label a sample belongs, of several places, to the one that the
        first model gets right most often, if that is more often than by chance.
        """
        found = [(right.answers(), right.classes) for right in self._right.values() if right is not None]
        if not found:
            return None
        if len(found) == 1 and found[0][0].output is None:
            return found[0][0]
        labels = np.concatenate(self._labels)
        likely = [answers for answers, classes in found if beats_chance(answers.first, labels, classes)]
        return max(likely, key=lambda answers: int(answers.first.sum()), default=None)

    @property
    def commonest(self) -> float:
        """Share of samples with the label, or the labels, that come most often; there have to be some."""
        return largest_share(np.concatenate(self._labels))

    @property
    def unused_labels(self) -> bool:
        """Whether there are labels that no output fits."""
        return bool(self._labels) and self.answers() is None


class MaskTally:
    """Sums over batches of one output that tells a class for each pixel.

    Args:
        temperature: as of `HeadsTally`.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature
        self._pixels = self._agree = 0
        self._kl, self._ruined = 0.0, False
        self._told = np.zeros(1, np.int64)  # how often the first says each class
        self._lost: list[NDArray[np.float64]] = []  # of each sample, the share of pixels

    def add(self, kind: OutputKind, first: NDArray[Any], second: NDArray[Any], samples: int) -> None:
        """Add one batch of N samples; an output that is no mask after all adds nothing."""
        scores = pixel_scores(kind, first, second, samples)
        if scores is None:
            return
        a, b = (values.reshape(-1, values.shape[-1]) for values in scores)
        step = max(1, _CHUNK // a.shape[1])
        agree = np.zeros(len(a), bool)
        for start in range(0, len(a), step):
            part, other = a[start : start + step], b[start : start + step]
            classes, others = predictions(part), predictions(other)
            agree[start : start + step] = (classes == others) & (classes >= 0)
            self._told = self._told + np.bincount(classes[classes >= 0], minlength=part.shape[1])
            self._ruined = self._ruined or bool(np.any(others < 0))
            self._kl += 0.0 if self._ruined else float(np.sum(kl_divergence(part, other, self._temperature)))
        self._agree += int(agree.sum())
        self._lost.append(1.0 - agree.reshape(samples, -1).mean(axis=1))
        self._pixels += len(a)

    @property
    def commonest(self) -> float:
        """Share of pixels to which the first model gives the class that it gives most often."""
        return int(self._told.max()) / max(self._pixels, 1)

    def result(self) -> HeadAgreement | None:
        """What the sums say; None where there were no pixels."""
        if not self._pixels:
            return None
        lost = np.concatenate(self._lost)
        bound = 1.0 - largest_ratio(lost, np.ones_like(lost))
        kl = float("inf") if self._ruined else self._kl / self._pixels
        return HeadAgreement(self._agree / self._pixels, kl, bound)
