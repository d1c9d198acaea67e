"""Compare two models on the same samples: accuracy, agreement, divergence, error."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.samples import Samples
from onnxshallow.errors import ModelError
from onnxshallow.model.session import Session
from onnxshallow.validation.classes import Changed, ClassCount, ClassTally, predictions
from onnxshallow.validation.metrics import FloatArray, class_scores, kl_divergence, top_k_correct
from onnxshallow.validation.numbers import Number
from onnxshallow.validation.outputs import OutputDifference, OutputTally
from onnxshallow.validation.statistics import McNemar, mcnemar, paired_difference_interval, wilson_interval
from onnxshallow.validation.synthetic import SortFidelity
from onnxshallow.validation.user_metric import UserMetric

__all__ = ["FIRST_GLANCE", "Accuracy", "Comparison", "Fidelity", "Loss", "Recorded", "Runner", "compare_models"]

FIRST_GLANCE = 256
"""After so many samples `compare_models` can tell what it knows so far."""


@dataclass(frozen=True)
class Accuracy:
    """A classifier's accuracy.

    Attributes:
        top1: share of samples whose label is the most likely class.
        top5: share of samples whose label is among the five most likely; None with five classes or fewer.
        top1_interval: 95 % Wilson interval of `top1`.
        samples: how many there were.
    """

    top1: float
    top5: float | None
    top1_interval: tuple[float, float]
    samples: int


@dataclass(frozen=True)
class Loss:
    """What the second model lost.

    Attributes:
        value: as a fraction.
        what: of what, in words.
    """

    value: float
    what: str


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How close the second model's outputs are to the first's.

    Attributes:
        samples: number of samples.
        source: where these come from; empty where that is not known.
        agreement: share of samples with the same most likely class; None where no output holds class scores.
        kl: mean KL(first || second) in nats; None likewise.
        relative_error: for each floating-point output, RMS of the difference over RMS of the first's; infinite
            where an output is not finite.
        composition_error: how far kernels that were composed exactly are off, where there are any.
        outputs: how far each output is, also those of other types.
        sorts: the same by sort of samples where these are synthetic, first those that the model was fitted to; all
            else speaks of the sort on which the models differ most.
    """

    samples: int
    source: str = ""
    agreement: float | None
    kl: Number
    relative_error: Mapping[str, Number]
    composition_error: Number = None
    outputs: tuple[OutputDifference, ...] = ()
    sorts: tuple[SortFidelity, ...] = ()

    @property
    def error(self) -> Loss:
        """The largest error over the outputs: relative for floats, the share of unequal elements for others."""
        losses = [
            Loss(1.0 - output.equal, f"share of unequal elements of {output.name!r}")
            if output.equal is not None
            else Loss(output.relative_error or 0.0, f"relative error of {output.name!r}")
            for output in self.outputs
        ]
        return max(losses, key=lambda loss: (loss.value, loss.what), default=Loss(0.0, "error"))

    @property
    def loss(self) -> Loss:
        """What is lost where labels tell nothing: disagreement, and without classes the largest error."""
        if self.agreement is None:
            return Loss(self.error.value, "output precision")
        return Loss(_without_noise(1.0 - self.agreement), "agreement with the original")


@dataclass(frozen=True)
class Comparison:
    """Two models on the same samples.

    Attributes:
        first: accuracy of the first model, where there are labels.
        second: accuracy of the second.
        fidelity: how close the second is to the first.
        mcnemar: exact test of whether their accuracies differ, where there are labels.
        drop_interval: 95 % interval of the accuracy lost, where there are labels.
        classes: class by class, where there are classes.
        changed: samples to which the second gives another class, at most 100, those first of which the first is
            most sure.
        changed_total: how many samples changed their class.
    """

    first: Accuracy | None
    second: Accuracy | None
    fidelity: Fidelity
    mcnemar: McNemar | None = None
    drop_interval: tuple[float, float] | None = None
    classes: tuple[ClassCount, ...] = ()
    changed: tuple[Changed, ...] = ()
    changed_total: int = 0

    @property
    def accuracy_lost(self) -> float | None:
        """Top-1 accuracy lost, as a fraction; None without labels."""
        if self.first is None or self.second is None:
            return None
        return _without_noise(self.first.top1 - self.second.top1)

    @property
    def loss(self) -> Loss:
        """What counts as lost, in every command: accuracy; without labels what the outputs tell."""
        lost = self.accuracy_lost
        return self.fidelity.loss if lost is None else Loss(lost, "accuracy")

    def with_others(self, others: Mapping[str, "Comparison"]) -> "Comparison":
        """Of this one and others, that in which the models differ most, with the figures of all of them.

        Args:
            others: on synthetic samples of other sorts, by what these are; none where samples are real.
        """
        if not others:
            return self
        every = {self.fidelity.source: self, **others}
        sorts = tuple(
            SortFidelity(name, one.fidelity.samples, one.fidelity.agreement, one.fidelity.relative_error)
            for name, one in every.items()
        )
        worst = max(every.values(), key=lambda one: one.fidelity.error.value)
        return replace(worst, fidelity=replace(worst.fidelity, sorts=sorts))

    def located_in(self, samples: Samples) -> "Comparison":
        """The same, with single samples by their positions and names in the source.

        Args:
            samples: on which the models were compared, in that order.
        """
        outputs = tuple(
            output
            if output.worst_sample is None
            else replace(output, worst_sample=samples.position(output.worst_sample))
            for output in self.fidelity.outputs
        )
        changed = tuple(
            replace(change, index=samples.position(change.index), name=samples.name(change.index))
            for change in self.changed
        )
        fidelity = replace(self.fidelity, source=samples.source, outputs=outputs)
        return replace(self, fidelity=fidelity, changed=changed)


def _without_noise(share: float) -> float:
    """A difference of shares, without the rounding that makes 1 - 0.85 more than a limit of 0.15."""
    return round(share, 12)


@dataclass
class _Tally:
    """Sums over batches."""

    names: tuple[str, ...]
    samples: int = 0
    kl: float = 0.0
    agree: int = 0
    ruined: bool = False
    number_of_classes: int = 0
    outputs: list[OutputTally] = field(default_factory=list)
    classes: ClassTally = field(default_factory=ClassTally)
    correct: list[list[NDArray[np.bool_]]] = field(default_factory=lambda: [[], [], [], []])

    def add(
        self, first: list[np.ndarray], second: list[np.ndarray], labels: NDArray[Any] | None, samples: int
    ) -> None:
        """Add the outputs of one batch of so many samples."""
        self.outputs = self.outputs or [OutputTally(name) for name in self.names]
        for name, *pair in zip(self.names, first, second, strict=True):
            if not all(isinstance(output, np.ndarray) for output in pair):
                raise ModelError(
                    f"The models cannot be compared: output {name!r} is no tensor but a sequence or a map."
                )
        scores = _class_scores(first, second, samples)
        for tally, a, b in zip(self.outputs, first, second, strict=True):
            tally.add(a, b, samples)
        if scores is not None:
            self._add_scores(*scores, labels)
        self.samples += samples

    def _add_scores(self, a: NDArray[Any], b: NDArray[Any], labels: NDArray[Any] | None) -> None:
        self.number_of_classes = a.shape[1]
        before, after = predictions(a), predictions(b)
        self.agree += int(np.sum((before == after) & (before >= 0)))
        self.ruined = self.ruined or bool(np.any(after < 0))
        self.kl += 0.0 if self.ruined else float(np.sum(kl_divergence(a, b)))
        if labels is not None:
            rows = ((a, 1), (b, 1), (a, 5), (b, 5))
            for kept, (scores, k) in zip(self.correct, rows, strict=True):
                kept.append(top_k_correct(scores, labels, k))
        self.classes.add(a, b, labels)

    def result(self) -> Comparison:
        """What the sums say."""
        outputs = tuple(tally.result() for tally in self.outputs)
        errors = {output.name: output.relative_error for output in outputs if output.relative_error is not None}
        scored = self.number_of_classes > 0
        kl = None if not scored else float("inf") if self.ruined else self.kl / self.samples
        agreement = self.agree / self.samples if scored else None
        fidelity = Fidelity(samples=self.samples, agreement=agreement, kl=kl, relative_error=errors, outputs=outputs)
        details: dict[str, Any] = {
            "classes": self.classes.classes(),
            "changed": self.classes.changed(),
            "changed_total": self.classes.changed_total,
        }
        if not self.correct[0]:
            return Comparison(None, None, fidelity, **details)
        first, second, first5, second5 = (np.concatenate(kept) for kept in self.correct)
        low, high = paired_difference_interval(second, first)
        return Comparison(
            _accuracy(first, first5, self.number_of_classes),
            _accuracy(second, second5, self.number_of_classes),
            fidelity,
            mcnemar(first, second),
            (low, high),
            **details,
        )


def _class_scores(
    first: list[np.ndarray], second: list[np.ndarray], samples: int
) -> tuple[FloatArray, FloatArray] | None:
    """Both models' first output that holds class scores, one row a sample."""
    for a, b in zip(first, second, strict=True):
        scores, others = class_scores(a), class_scores(b)
        if scores is not None and others is not None and len(scores) == len(others) == samples:
            return scores, others
    return None


def _accuracy(top1: NDArray[np.bool_], top5: NDArray[np.bool_], classes: int) -> Accuracy:
    hits = int(top1.sum())
    return Accuracy(
        hits / len(top1),
        float(top5.mean()) if classes > 5 else None,
        wilson_interval(hits, len(top1)),
        len(top1),
    )


class Runner(Protocol):
    """A model that can be run."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for one batch."""


class Recorded:
    """A model whose outputs are kept: every pass over the same batches after the first costs nothing.

    Args:
        session: runs the model in the first pass.
        batches: how many batches a pass has.
        hold: stores an array; it may move it to disk.
    """

    def __init__(
        self, session: Session, batches: int, hold: Callable[[np.ndarray], np.ndarray] = lambda array: array
    ) -> None:
        self.output_names = session.output_names
        self._session, self._batches, self._hold = session, batches, hold
        self._kept: list[list[np.ndarray]] = []
        self._next = 0

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for the next batch."""
        position = self._next
        self._next = (position + 1) % self._batches
        if position == len(self._kept):
            self._kept.append([self._hold(output) for output in self._session.run(feeds)])
        return self._kept[position]


def compare_models(
    first: Runner,
    second: Session,
    batches: Iterable[tuple[Mapping[str, np.ndarray], NDArray[Any] | None]],
    *,
    metrics: Sequence[UserMetric] = (),
    glance: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Run both models and compare their outputs, batch by batch, so that no set is too long.

    The first output that holds class scores, (N, K), stands for the prediction.

    Args:
        first: the original.
        second: the optimized model, with the same outputs.
        batches: inputs by name, and labels (N,) or None.
        metrics: the user's own; they add up what they find.
        glance: called once with what is known after the first `FIRST_GLANCE` samples, where there are as many.

    Raises:
        ModelError: onnxruntime fails, or outputs have different shapes or are no tensors.
        DataError: a label names a class that the network does not have, or a metric fails.
    """
    names = first.output_names
    tally = _Tally(names)
    for feeds, labels in batches:
        outputs = first.run(feeds), second.run(feeds, names)
        before = tally.samples
        tally.add(*outputs, labels, len(next(iter(feeds.values()))))
        for metric in metrics:
            by_name, others = (dict(zip(names, values, strict=True)) for values in outputs)
            metric.add(by_name, others, labels, tally.samples - before)
        if glance is not None and tally.samples >= FIRST_GLANCE:
            glance(tally.result())
            glance = None
    return tally.result()
