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
from onnxshallow.validation.guess import kinds_of_arrays
from onnxshallow.validation.heads import HeadsTally, MaskTally
from onnxshallow.validation.kinds import OutputKind, Place, class_places
from onnxshallow.validation.labels import LabelFit, LabelTally
from onnxshallow.validation.numbers import Number
from onnxshallow.validation.outputs import Loss, OutputDifference, OutputTally, share_lost
from onnxshallow.validation.seen import Seen, SeenTally
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


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How close the second model's outputs are to the first's.

    Attributes:
        samples: number of samples.
        source: where these come from; empty where that is not known.
        agreement: share of samples with the same most likely class, at all outputs and positions that tell one; None
            where no output tells classes.
        kl: mean KL(first || second) in nats, over the outputs that hold class scores; None where there is none.
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
        return _largest([output.error for output in self.outputs])

    @property
    def loss(self) -> Loss:
        """What is lost where labels tell nothing: disagreement, and without classes the most that an output lost."""
        if self.agreement is None:
            return _largest([output.loss for output in self.outputs])
        return Loss(share_lost(self.agreement), "agreement with the original")


def _largest(losses: Sequence[Loss]) -> Loss:
    return max(losses, key=lambda loss: (loss.value, loss.what), default=Loss(0.0, "error"))


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
        labels_of: the output that the labels belong to, where others tell classes too that have none; else None.
        unused_labels: whether there are labels that are those of no output.
        labels: how the labels fit the first model, at each place where it tells a class, if there are some for all.
        seen: the samples.
        constant: the same with a model that says what the first says most often, or its mean, whatever it is shown.
    """

    first: Accuracy | None
    second: Accuracy | None
    fidelity: Fidelity
    mcnemar: McNemar | None = None
    drop_interval: tuple[float, float] | None = None
    classes: tuple[ClassCount, ...] = ()
    changed: tuple[Changed, ...] = ()
    changed_total: int = 0
    labels_of: str | None = None
    unused_labels: bool = False
    labels: tuple[LabelFit, ...] = ()
    seen: Seen = field(default_factory=Seen)
    constant: "Comparison | None" = None

    @property
    def unlabelled(self) -> "Comparison":
        """The same without what labels tell."""
        constant = None if self.constant is None else self.constant.unlabelled
        without = replace(self, first=None, second=None, mcnemar=None, drop_interval=None, labels=(), labels_of=None)
        return replace(without, constant=constant)

    @property
    def accuracy_lost(self) -> float | None:
        """Top-1 accuracy lost, as a fraction; None without labels."""
        if self.first is None or self.second is None:
            return None
        return round(self.first.top1 - self.second.top1, 12)

    @property
    def loss(self) -> Loss:
        """What counts as lost, in every command: accuracy; without labels what the outputs tell.

        Where labels belong to one of several outputs that tell classes, the others count by their agreement.
        """
        if self.accuracy_lost is None:
            return self.fidelity.loss
        others = [
            output.loss
            for output in self.fidelity.outputs
            if self.labels_of not in (None, output.name) and output.kind == "classes" and output.agreement is not None
        ]
        return max([Loss(self.accuracy_lost, "accuracy"), *others], key=lambda loss: loss.value)

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


class _Tally:
    """Sums over batches."""

    def __init__(self, names: Sequence[str], kinds: Sequence[OutputKind] | None) -> None:
        self._names, self._kinds = names, kinds
        self._outputs = [OutputTally(name) for name in names]
        self._masks = [MaskTally() for _ in names]
        self._heads = HeadsTally()
        self._classes = ClassTally()
        self._labels: list[LabelTally] = []
        self.seen = SeenTally()

    @property
    def samples(self) -> int:
        """How many there were."""
        return self._heads.samples

    def add(
        self, first: list[np.ndarray], second: list[np.ndarray], labels: NDArray[Any] | None, samples: int
    ) -> None:
        """Add the outputs of one batch of so many samples."""
        for name, *pair in zip(self._names, first, second, strict=True):
            if not all(isinstance(output, np.ndarray) for output in pair):
                raise ModelError(
                    f"The models cannot be compared: output {name!r} is no tensor but a sequence or a map."
                )
        if self._kinds is None:
            self._kinds = kinds_of_arrays(self._names, first, samples)
        places: list[Place] = []
        same: dict[str, NDArray[np.bool_]] = {}
        for kind, tally, mask, a, b in zip(self._kinds, self._outputs, self._masks, first, second, strict=True):
            tally.add(a, b, samples)
            mask.add(kind, a, b, samples)
            places += class_places(kind, a, b, samples)
            if kind.kind == "classes" and a.dtype.kind in "iu" and len(a) == samples:
                same[kind.name] = (a == b).reshape(samples, -1).all(axis=1)
        self._heads.add(places, same, labels, samples)
        if places:
            columns = labels[:, None] if labels is not None and labels.ndim == 1 else labels
            self._classify(places, columns if columns is not None and columns.shape[1] == len(places) else None)

    def _classify(self, places: Sequence[Place], labels: NDArray[Any] | None) -> None:
        """Count classes, and how labels (N, Q) of all Q places fit them."""
        self._classes.add(places, labels)
        if labels is None:
            return
        alone = len(places) == 1
        self._labels = self._labels or [LabelTally(None if alone else place.output) for place in places]
        for tally, place, own in zip(self._labels, places, labels.T, strict=True):
            tally.add(predictions(place.first), own, place.first.shape[1])

    def _differences(self) -> tuple[OutputDifference, ...]:
        """How far each output is, by what it means; one that does not hold what it should is numbers like others."""
        heads = self._heads.heads
        found = []
        for kind, tally, mask in zip(self._kinds or (), self._outputs, self._masks, strict=True):
            output, agreed = tally.result(), heads.get(kind.name) or mask.result()
            meant, reason = kind.kind, kind.reason
            if agreed is not None:
                output = replace(output, agreement=agreed.agreement, kl=agreed.kl, agreement_bound=agreed.bound)
            elif meant == "mask" and output.equal is not None:
                output = replace(output, agreement=output.equal)
            elif meant in ("classes", "mask"):
                meant, reason = "regression", f"no {meant}, as it holds no class scores of each sample"
            found.append(replace(output, kind=meant, reason=reason))
        return tuple(found)

    def result(self) -> Comparison:
        """What the sums say."""
        found = self._compared()
        outputs = tuple(
            replace(
                tally.constant(),
                kind=output.kind,
                agreement=(mask if output.kind == "mask" else self._classes).commonest,
            )
            for output, tally, mask in zip(found.fidelity.outputs, self._outputs, self._masks, strict=True)
        )
        agreement = None if found.fidelity.agreement is None else self._classes.commonest
        second = None if found.second is None else replace(found.second, top1=self._heads.commonest)
        fidelity = replace(found.fidelity, agreement=agreement, outputs=outputs)
        return replace(found, constant=replace(found, second=second, fidelity=fidelity))

    def _compared(self) -> Comparison:
        heads, outputs = self._heads, self._differences()
        divergences = [head.kl for head in heads.heads.values() if head.kl is not None]
        fidelity = Fidelity(
            samples=self.samples,
            agreement=heads.agreement,
            kl=sum(divergences) / len(divergences) if divergences else None,
            relative_error={one.name: one.relative_error for one in outputs if one.relative_error is not None},
            outputs=outputs,
        )
        details: dict[str, Any] = {
            "classes": self._classes.classes(),
            "changed": self._classes.changed(),
            "changed_total": self._classes.changed_total,
            "labels": tuple(tally.result() for tally in self._labels),
            "seen": self.seen.result(),
        }
        answers = heads.answers()
        if answers is None:
            return Comparison(None, None, fidelity, **details, unused_labels=heads.unused_labels)
        low, high = paired_difference_interval(answers.second, answers.first)
        return Comparison(
            _accuracy(answers.first, answers.first5),
            _accuracy(answers.second, answers.second5),
            fidelity,
            mcnemar(answers.first, answers.second),
            (low, high),
            **details,
            labels_of=answers.output,
        )


def _accuracy(top1: NDArray[np.bool_], top5: NDArray[np.bool_] | None) -> Accuracy:
    hits = int(top1.sum())
    return Accuracy(
        hits / len(top1),
        None if top5 is None else float(top5.mean()),
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
    kinds: Sequence[OutputKind] | None = None,
    metrics: Sequence[UserMetric] = (),
    glance: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Run both models and compare their outputs, batch by batch, so that no set is too long.

    All outputs that tell classes stand for the prediction: a sample has the same where all are the same.

    Args:
        first: the original.
        second: the optimized model, with the same outputs.
        batches: inputs by name, and labels or None: (N,) classes, or (N, Q) where a sample has Q of them.
        kinds: what the first's outputs mean; None to guess it from their names and shapes alone.
        metrics: the user's own; they add up what they find.
        glance: called once with what is known after the first `FIRST_GLANCE` samples, where there are as many.

    Raises:
        ModelError: onnxruntime fails, or outputs have different shapes or are no tensors.
        DataError: a label names a class that the network does not have, or a metric fails.
    """
    names = first.output_names
    tally = _Tally(names, kinds)
    for feeds, labels in batches:
        outputs = first.run(feeds), second.run(feeds, names)
        before = tally.samples
        tally.add(*outputs, labels, len(next(iter(feeds.values()))))
        tally.seen.add(feeds)
        for metric in metrics:
            by_name, others = (dict(zip(names, values, strict=True)) for values in outputs)
            metric.add(by_name, others, labels, tally.samples - before)
        if glance is not None and tally.samples >= FIRST_GLANCE:
            glance(tally.result())
            glance = None
    return tally.result()
