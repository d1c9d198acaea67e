"""From what was learned to what a report says of it."""

from dataclasses import asdict

from onnxshallow.model.document import Document
from onnxshallow.model.session import usable_cores
from onnxshallow.report.schema.sections import FileReport, TrainingLook, TrainingReport
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.trained import Trained

__all__ = ["training_report"]


def training_report(
    inputs: Inputs, trained: Trained, seconds: float, start: Document | None = None
) -> TrainingReport:
    """How weights learned.

    Args:
        inputs: with the options.
        trained: what came of it.
        seconds: how long it took.
        start: the optimized model that was given, where one was.
    """
    lesson, distilled = trained.lesson, trained.distilled
    return TrainingReport(
        start=None if start is None else FileReport(path=str(start.path), sha256=start.sha256),
        asked=str(inputs.config.finetune),
        steps=distilled.steps,
        done=distilled.done,
        kept=distilled.best.step if trained.share else 0,
        share=trained.share,
        interrupted=distilled.interrupted,
        samples=len(lesson.train),
        held_out=sum(len(next(iter(batch.values()))) for batch in lesson.held_out),
        batch=lesson.batch,
        augment=lesson.augment,
        arithmetic=distilled.arithmetic,
        threads=lesson.threads or usable_cores(),
        trained=distilled.trained,
        lacks=list(distilled.lacks),
        looks=[TrainingLook(**asdict(look)) for look in distilled.looks],
        seconds=seconds,
        labels=lesson.labels is not None,
    )
