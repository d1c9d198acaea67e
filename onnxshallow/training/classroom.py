"""The teacher, which is the original, and the student, which is the optimized network, before the same samples."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis
from onnxshallow.data.samples import Samples
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network
from onnxshallow.model.scales import scales_of
from onnxshallow.options.quantities import Length
from onnxshallow.training.augmentation import Augment, Augmentation
from onnxshallow.training.graph import TorchGraph
from onnxshallow.training.lessons import UNKNOWN, compared_tensors, error, labelled_error, spread
from onnxshallow.training.library import device, fast_arithmetic, in_arithmetic
from onnxshallow.training.views import Views, joined
from onnxshallow.training.watch import Watch, watched_tensors
from onnxshallow.validation.kinds import OutputKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Classroom", "Lesson"]

# Steps that are timed, after one that is not, where a time is to be filled.
_TIMED = 4
# Penalties on growth count so much beside the loss, which is about 0.01 to 0.1.
_PENALTY = 0.3
# What the labels say counts so much beside what the teacher says.
_LABELS = 0.1
# On so many of the held-out samples it is seen what outputs and activations reach.
_SEEN = 512


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is to be learned, from what, and how.

    Attributes:
        original: the teacher's parts.
        optimized: the student's graph.
        squares: whether the student squares activations that the teacher does not.
        kinds: what the outputs mean.
        train: samples to learn from.
        held_out: batches of samples to judge by.
        extremes: batches of extreme samples, which activations are watched on where something is squared.
        labels: (N,) classes of `train` by the only output, where they are learned from as well; else None.
        batch: samples a step.
        length: how long.
        augment: what is done to images.
        seed: of everything random.
        threads: of torch and of onnxruntime; 0 for all cores.
    """

    original: Analysis
    optimized: Network
    squares: bool
    kinds: tuple[OutputKind, ...]
    train: Samples
    held_out: list[dict[str, np.ndarray]]
    batch: int
    length: Length
    augment: Augment
    seed: int = 0
    threads: int = 0
    extremes: Sequence[Mapping[str, np.ndarray]] = ()
    labels: NDArray[np.int64] | None = None

    @property
    def purpose(self) -> str:
        """A digest of all that decides what comes out, as far as it does not change within a machine."""
        import torch

        digest = hashlib.sha256()
        for network in (self.original.network, self.optimized):
            digest.update(network.model.SerializeToString(deterministic=True))
        for batch in (*self.held_out, *self.extremes):
            for name in sorted(batch):
                digest.update(np.ascontiguousarray(batch[name]).tobytes())
        decisive = (self.length, self.augment, self.batch, self.seed, self.threads, torch.__version__)
        digest.update(f"{self.train.fingerprint()} {decisive}".encode())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()


class Classroom:
    """A teacher and a student before the same samples.

    Args:
        lesson: what is to be learned.

    Attributes:
        graph: the student in torch.
        arithmetic: the short floats in which layers multiply; None for float32.

    Raises:
        ModelError: there is nothing that could be trained.
    """

    def __init__(self, lesson: Lesson) -> None:
        self._lesson, self.arithmetic = lesson, fast_arithmetic()
        teacher, student = lesson.original.network, lesson.optimized
        self._pairs = compared_tensors(teacher, student)
        watched = watched_tensors(lesson.original, student) if lesson.squares else ()
        targets, own = (tuple(pair[side] for pair in self._pairs) for side in (0, 1))
        self._teacher = TorchGraph(teacher, (*targets, *watched), device(), threads=lesson.threads)
        self.graph = TorchGraph(student, (*own, *watched), device(), trained=True, threads=lesson.threads)
        if not self.graph.parameters:
            raise ModelError(_why_nothing(self.graph))
        self._watch = None
        few = _first(lesson.held_out, _SEEN)
        if watched:
            scales = scales_of(student.model)
            self._watch = Watch(teacher, watched, few, lesson.extremes, lesson.seed, lesson.threads, scales)
        self._views = Views(lesson.train, Augmentation.of(lesson.augment, teacher.inputs), lesson.seed)
        told = [self._taught(batch) for batch in few]
        self._spreads = [spread([answers[target] for answers in told]) for target in targets]

    def _taught(self, batch: Mapping[str, np.ndarray]) -> "dict[str, Tensor]":
        import torch

        with torch.no_grad(), in_arithmetic(self.arithmetic):
            return self._teacher(batch)

    def loss(self, step: int) -> "Tensor":
        """The loss of one step's batch, which depends on the step and the seed alone."""
        lesson, parts = self._lesson, list(self._views.rows(step, self._lesson.batch))
        batch = joined([self._views.show(view, rows) for view, rows in parts])
        if self._watch is not None:
            batch = self._watch.changed(batch, np.random.default_rng((lesson.seed, 3, step)))
        taught = self._taught(batch)
        guard = None if self._watch is None else self._watch.guard(taught)
        with in_arithmetic(self.arithmetic):
            learned = self.graph(batch, guard)
        stopped = None if guard is None else guard.stopped(len(next(iter(batch.values()))))
        loss = error(self._pairs, taught, learned, self._spreads, stopped)
        if lesson.labels is not None:
            labels = lesson.labels[np.concatenate([rows for _, rows in parts])]
            if self._watch is not None:
                labels[len(labels) - self._watch.replaced(len(labels)) :] = UNKNOWN
            if stopped is not None:
                labels[stopped.cpu().numpy()] = UNKNOWN
            loss = loss + _LABELS * labelled_error(learned[self._pairs[0][1]], labels)
        return loss if guard is None or guard.penalty is None else loss + _PENALTY * guard.penalty

    def pace(self) -> float:
        """How long a step takes, in seconds, the median of a few after one that is not counted; no weight changes."""
        whole = []
        for step in range(_TIMED + 1):
            began = time.perf_counter()
            self.loss(step).backward()
            whole.append(time.perf_counter() - began)
        for weight in self.graph.parameters.values():
            weight.grad = None
        return sorted(whole[1:])[_TIMED // 2]


def _first(batches: Sequence[dict[str, np.ndarray]], count: int) -> list[dict[str, np.ndarray]]:
    """The first batches, until they hold so many samples."""
    sizes = np.cumsum([len(next(iter(batch.values()))) for batch in batches])
    return list(batches[: 1 + int(np.searchsorted(sizes, count))])


def _why_nothing(graph: TorchGraph) -> str:
    if graph.lacks:
        return (
            f"There is nothing to train: {', '.join(graph.lacks)} is not known to the training, and all weights come "
            "before it."
        )
    weights = (tensor.name for tensor in graph.network.model.graph.initializer)
    if any(graph.network.is_overridable(name) for name in weights):
        return (
            "There is nothing to train: the weights are also inputs of the network, which a caller may replace; "
            "export it with keep_initializers_as_inputs=False."
        )
    return "There is nothing to train: no weight of the network leads to an output of floats."
