"""Distillation: the optimized network learns to say what the original says, of samples without labels.

    for each batch: change it, ask the original, move the student's weights towards the answers
    now and then:   look at the student on held-out samples, and keep the best so far

The start is the first of those, so that the result is never worse than it, as far as held-out samples tell.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from onnxshallow.runtime.progress import Progress
from onnxshallow.training.checkpoint import load_checkpoint, save_checkpoint
from onnxshallow.training.classroom import Classroom, Lesson
from onnxshallow.training.course import Course, steps_of
from onnxshallow.training.held_out import HeldOut, Look, better
from onnxshallow.training.interrupt import interruptible
from onnxshallow.training.library import computing_with
from onnxshallow.training.student import Student

__all__ = ["Distilled", "distil"]

# Seconds between checkpoints.
_BETWEEN = 30.0


@dataclass(frozen=True, eq=False)
class Distilled:
    """What came of it.

    Attributes:
        model: the best student; the start itself where none was better.
        looks: at held-out samples, the first at the start.
        best: the look at what is kept.
        steps: how many the course has.
        done: how many were done.
        interrupted: whether somebody stopped it.
        trained: how many numbers were trained.
        lacks: operators that are not known to the training, in words; they and all before them were frozen.
        arithmetic: in which layers were multiplied.
    """

    model: onnx.ModelProto
    looks: tuple[Look, ...]
    best: Look
    steps: int
    done: int
    interrupted: bool
    trained: int
    lacks: tuple[str, ...]
    arithmetic: str


def distil(lesson: Lesson, progress: Progress, checkpoint: Path | None = None, *, resume: bool = False) -> Distilled:
    """Train the weights of an optimized network.

    Args:
        lesson: what is to be learned.
        progress: shows how it goes.
        checkpoint: where it is kept how far training got; removed when it is done.
        resume: go on from there, if there is such a file.

    Raises:
        ModelError: there is nothing that could be trained.
        UsageError: the checkpoint is of another run.
    """
    with computing_with(lesson.threads, lesson.seed):
        return _Run(lesson, progress, checkpoint).trained(resume)


@dataclass
class _Standing:
    """Where a run stands.

    Attributes:
        looks: at held-out samples so far.
        best: the look at the best student so far.
        model: that student.
        losses: of the steps since the last look.
    """

    looks: list[Look]
    best: Look
    model: onnx.ModelProto
    losses: list[float] = field(default_factory=list)

    def add(self, look: Look, model: onnx.ModelProto) -> None:
        """Note what a student was worth, and keep it where it is the best."""
        self.looks.append(look)
        self.losses = []
        if better(look, self.best):
            self.best, self.model = look, model


class _Run:
    """One run of a course."""

    def __init__(self, lesson: Lesson, progress: Progress, checkpoint: Path | None) -> None:
        self._lesson, self._progress, self._checkpoint = lesson, progress, checkpoint
        self._purpose = "" if checkpoint is None else lesson.purpose
        self._room = Classroom(lesson)
        self._exam = HeldOut(
            lesson.original,
            lesson.held_out,
            lesson.kinds,
            squares=lesson.squares,
            seed=lesson.seed,
            threads=lesson.threads,
        )

    def trained(self, resume: bool) -> Distilled:
        """Train, from the start or from where a checkpoint stands."""
        student, standing = (self._resumed() if resume else None) or self._begun()
        began, before, saved = time.perf_counter(), student.step, time.perf_counter()
        steps = student.course.steps
        with interruptible() as interrupt, self._progress.stage("Training", steps) as step:
            for _ in range(student.step):
                step()
            while student.step < steps and not interrupt.asked:
                loss = self._room.loss(student.step)
                student.learn(loss)
                standing.losses.append(float(loss.detach()))
                step()
                if student.course.is_look(student.step):
                    each = (time.perf_counter() - began) / (student.step - before)
                    self._look(student, standing, each * (steps - student.step))
                if time.perf_counter() - saved > _BETWEEN:
                    self._save(student, standing)
                    saved = time.perf_counter()
            if interrupt.asked:
                self._save(student, standing)
                if standing.losses:
                    self._look(student, standing, 0.0)
            elif self._checkpoint is not None:
                self._checkpoint.unlink(missing_ok=True)
            return self._outcome(student, standing, interrupt.asked)

    def _begun(self) -> tuple[Student, _Standing]:
        """The start, and a course as long as was asked for."""
        lesson, start = self._lesson, self._lesson.optimized.model
        began = time.perf_counter()
        first = self._exam.look(start, 0)
        took = time.perf_counter() - began
        pace = self._room.pace() if lesson.length.unit == "seconds" else None
        course = Course(steps_of(lesson.length, pace, took, len(lesson.train), lesson.batch))
        return Student(self._room.graph, course), _Standing([first], first, start)

    def _resumed(self) -> tuple[Student, _Standing] | None:
        """Where a checkpoint stands; None where there is none."""
        found = None if self._checkpoint is None else load_checkpoint(self._checkpoint, self._purpose)
        if found is None:
            return None
        state, looks = found
        student = Student(self._room.graph, Course(state["steps"]))
        student.restore(state)
        model = onnx.ModelProto.FromString(state["model"].numpy().tobytes())
        self._progress.note(f"Going on after step {student.step} of {student.course.steps}.")
        return student, _Standing(looks, looks[state["best"]], model, state["losses"])

    def _save(self, student: Student, standing: _Standing) -> None:
        """Write where the run stands, where that is asked for."""
        import torch

        if self._checkpoint is None:
            return
        model = bytearray(standing.model.SerializeToString(deterministic=True))
        state = {
            **student.state(),
            "steps": student.course.steps,
            "model": torch.frombuffer(model, dtype=torch.uint8),
            "best": standing.looks.index(standing.best),
            "losses": standing.losses,
        }
        save_checkpoint(self._checkpoint, self._purpose, state, standing.looks)

    def _look(self, student: Student, standing: _Standing, left: float) -> None:
        """See what the student is worth by now, and tell it, with the seconds that are left."""
        model = student.model()
        look = self._exam.look(model, student.step, float(np.mean(standing.losses)))
        standing.add(look, model)
        grown = "" if look.growth is None else f", growth {look.growth:.3g}"
        kept = "" if standing.best is look else f" (best after step {standing.best.step})"
        same = "" if look.agreement is None else f"same class {100 * look.agreement:.2f} %, "
        self._progress.note(
            f"Step {look.step} of {student.course.steps}: loss {look.loss:.4g}; held out: {same}"
            f"error {look.error:.4g}, divergence {look.damage:.4g}{grown}{kept}; {left / 60:.1f} minutes left."
        )

    def _outcome(self, student: Student, standing: _Standing, interrupted: bool) -> Distilled:
        graph = self._room.graph
        return Distilled(
            standing.model,
            tuple(standing.looks),
            standing.best,
            student.course.steps,
            student.step,
            interrupted,
            sum(weight.numel() for weight in graph.parameters.values()),
            graph.lacks,
            self._room.arithmetic or "float32",
        )
