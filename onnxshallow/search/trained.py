"""An attempt whose weights learned from the original, and what is to be said of that."""

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.data.prepare import labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.data.splits import subset
from onnxshallow.errors import DataError, UsageError
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.options.quantities import Length, read_length
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.attempt import Attempt, examined, judged
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.watched import with_watched
from onnxshallow.training.augmentation import usual
from onnxshallow.training.classroom import Lesson
from onnxshallow.training.distil import Distilled, distil
from onnxshallow.training.library import require_torch
from onnxshallow.training.student import moved_towards
from onnxshallow.training.views import order_of
from onnxshallow.validation.seen import Seen

__all__ = ["Trained", "lesson_of", "require_lesson", "train"]

# Samples a step, where the model leaves that open.
_BATCH = 128
# Of all samples one in so many is held out, and at most so many are.
_ONE_IN, _MOST_HELD_OUT = 8, 1024
# How many batches are shown to the original to find out what may be done to images.
_SHOWN = 8
# Where what was learned is not stable, this much of the way to it may be; the start is the last resort.
_SHARES = (1.0, 0.9, 0.75, 0.5, 0.25, 0.0)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        attempt: compared with the original.
        distilled: how it learned.
        lesson: from what.
        share: how far the weights moved towards what was learned; less than all where that is not stable.
        remarks: what is to be said of it.
    """

    attempt: Attempt
    distilled: Distilled
    lesson: Lesson
    share: float
    remarks: tuple[str, ...]


def require_lesson(inputs_given: bool) -> None:
    """Make sure, before the work begins, that there is something to learn from, and with.

    Args:
        inputs_given: whether there are calibration data.

    Raises:
        UsageError: torch is not installed, or there are no data.
    """
    require_torch()
    if not inputs_given:
        raise UsageError("Training needs real inputs to learn from: give --calib.")


def train(
    inputs: Inputs,
    plan: Plan,
    start: Realized,
    progress: Progress,
    clock: Clock,
    checkpoint: Path | None = None,
    *,
    resume: bool = False,
) -> Trained:
    """Let an optimized network learn, and compare what comes of it with the original.

    Where what was learned lets activations grow too far on samples that were not looked at before, the weights stop
    on the way to it.

    Args:
        inputs: the original, samples, and options: `finetune` says how long.
        plan: what was done to the original.
        start: the optimized network.
        progress: shows how it goes.
        clock: seconds by stage.
        checkpoint: where it is kept how far training got.
        resume: go on from there.

    Raises:
        ModelError: there is nothing that could be trained.
        DataError: there are too few samples.
        UsageError: the checkpoint is of another run.
    """
    if start.analysis.cost.squares > inputs.analysis.cost.squares:
        inputs = with_watched(inputs, progress)
    lesson = lesson_of(inputs, start)
    with clock("train"):
        distilled = distil(lesson, progress, checkpoint, resume=resume)
    remarks = _remarks(lesson, distilled)
    with clock("examine"):
        whys, suspects = [], set[tuple[str, str]]()
        for share in _SHARES if distilled.best.step else (0.0,):
            made = _moved(start, distilled.model, share)
            pair = examined(inputs, made, progress, suspects, briefly=share > 0)
            if pair is None or pair.result.why_unstable is None:
                break
            whys.append(pair.result.why_unstable)
            suspects = pair.suspects
        if whys and distilled.best.step:
            remarks.append(_not_stable(whys[0], share))
    with clock("validate"):
        attempt = judged(inputs, plan, made, None if pair is None else pair.result, progress)
    share = share if distilled.best.step else 0.0
    if share:
        attempt = replace(attempt, learned=_learned(lesson, distilled.done))
    return Trained(attempt, distilled, lesson, share, tuple(remarks))


def _learned(lesson: Lesson, steps: int) -> Seen:
    """The samples that were learned from in so many steps, and those by which the best of these was chosen."""
    first = order_of(len(lesson.train), 0, lesson.seed)[: steps * lesson.batch]
    shown = labelled_batches(lesson.train.take(np.sort(first)), lesson.batch)
    return Seen.of(chain((feeds for feeds, _ in shown), lesson.held_out))


def _moved(start: Realized, learned: onnx.ModelProto, share: float) -> Realized:
    """The start, with its weights moved so far towards what was learned."""
    if share == 0:
        return start
    model = learned if share == 1 else moved_towards(start.network, learned, share)
    return replace(start, network=Network(model, start.network.input_shapes), outputs=[])


def _not_stable(why: str, share: float) -> str:
    """What to say where weights that moved in full are not stable, and moved by a share only."""
    instead = f"the weights stop at {100 * share:.0f} % of the way to it" if share else "the start is kept"
    return f"what was learned is not stable, so {instead}: {why}"


def lesson_of(inputs: Inputs, start: Realized, length: Length | None = None) -> Lesson:
    """What an optimized network is to learn.

    Args:
        inputs: the original, samples, and options.
        start: the optimized network.
        length: how long; by default as the options say.

    Raises:
        DataError: there are too few samples, or labels that do not fit.
        UsageError: labels are to be learned from that the network has no use for.
    """
    config = inputs.config
    train, held_out = _divided(inputs)
    infos = inputs.analysis.network.inputs
    batch = inputs.data.batch if inputs.fixed_batch else min(_BATCH, len(train))
    batches = [
        {name: np.asarray(values) for name, values in feeds.items()}
        for feeds, _ in labelled_batches(held_out, inputs.data.batch, whole=inputs.fixed_batch)
    ]
    teacher = Session(inputs.document.model, threads=inputs.calibration.threads)
    labels = _labels(inputs, train, teacher.run(batches[0])[0].shape) if config.labels else None
    return Lesson(
        original=inputs.analysis,
        optimized=start.network,
        squares=start.analysis.cost.squares > inputs.analysis.cost.squares,
        kinds=inputs.kinds,
        train=train,
        held_out=batches,
        batch=batch,
        length=length or read_length(config.finetune),
        augment=config.augment or usual(infos, inputs.kinds, teacher.run, batches[:_SHOWN]),
        seed=config.seed,
        threads=config.threads or 0,
        extremes=inputs.calibration.watched,
        labels=labels,
    )


def _labels(inputs: Inputs, train: Samples, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The labels of samples to learn from.

    Args:
        inputs: with what the outputs mean.
        train: the samples.
        shape: of the first output for a batch.

    Raises:
        UsageError: the network does not tell one class for each sample.
        DataError: there are no labels, or they are not of the network's classes.
    """
    if [kind.kind for kind in inputs.kinds] != ["classes"] or len(shape) != 2:
        raise UsageError("--labels: the network has not just one output that tells a class; leave --labels out.")
    labels = train.labels
    if labels is None or labels.ndim != 1:
        raise DataError(f"{train.source}: has no label for each sample to learn from; leave --labels out.")
    if not 0 <= labels.min() <= labels.max() < shape[1]:
        raise DataError(
            f"{train.source}: labels from {labels.min()} to {labels.max()} are not of the network's {shape[1]} "
            "classes, which count from 0; leave --labels out."
        )
    return labels


def _divided(inputs: Inputs) -> tuple[Samples, Samples]:
    """Samples to learn from, and others to judge by, none of which is one of the report.

    Raises:
        DataError: there are too few.
    """
    pool, batch = inputs.data.pool, inputs.data.batch if inputs.fixed_batch else 1
    count = min(_MOST_HELD_OUT, len(pool) // _ONE_IN) // batch * batch
    if count < 1 or len(pool) - count < batch:
        raise DataError(f"{pool.source}: {len(pool)} samples are too few to learn from; give more with --calib.")
    held_out = subset(len(pool), count, inputs.config.seed)
    rest = np.setdiff1d(np.arange(len(pool)), held_out)
    most = inputs.config.train_samples or len(rest)
    return pool.take(rest[subset(len(rest), most, inputs.config.seed)]), pool.take(held_out)


def _remarks(lesson: Lesson, distilled: Distilled) -> list[str]:
    first, best = distilled.looks[0], distilled.best
    told = f"trained for {distilled.done} of {distilled.steps} steps on {len(lesson.train)} samples; "
    if not best.step:
        told += "nothing was better than the start on samples held out, so that is kept"
    else:
        told += f"on samples held out the divergence fell from {first.damage:.4g} to {best.damage:.4g}"
        if first.agreement is not None and best.agreement is not None:
            told += f", the same class rose from {100 * first.agreement:.2f} to {100 * best.agreement:.2f} %"
    found = [told]
    if lesson.labels is not None:
        found.append(f"the labels of {lesson.train.source} were learned from, too")
    if distilled.interrupted:
        found.append("training was interrupted, and the best so far is kept")
    if distilled.lacks:
        listed = ", ".join(distilled.lacks)
        found.append(f"{listed} is not known to the training, so weights before it stayed as they were")
    return found
