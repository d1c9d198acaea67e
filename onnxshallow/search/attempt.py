"""Carry out a plan, and compare what came of it with the original."""

from dataclasses import replace

from onnxshallow.data.prepare import labelled_batches
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.session import Session
from onnxshallow.rewriting.realize import Realized, realize
from onnxshallow.runtime.progress import Progress, counted
from onnxshallow.search.inputs import Inputs, Observation
from onnxshallow.search.plan import Plan
from onnxshallow.validation.compare import Comparison, Runs, compare_models

__all__ = ["carry_out", "realize_with", "validate"]


def carry_out(inputs: Inputs, observation: Observation, plan: Plan, progress: Progress) -> Realized:
    """Apply a plan, fitting on all calibration samples."""
    return realize_with(replace(inputs.calibration, everything=True), inputs, observation, plan, progress)


def realize_with(
    calibration: Calibration, inputs: Inputs, observation: Observation, plan: Plan, progress: Progress
) -> Realized:
    """Apply a plan, fitting on some samples."""
    with progress.stage("Rewriting and fitting", len(inputs.analysis.layers)) as step:
        return realize(
            inputs.analysis,
            plan.candidates,
            observation.statistics,
            calibration,
            correction=inputs.config.correction,
            form=inputs.config.mask_form or "split",
            step=step,
        )


def validate(inputs: Inputs, realized: Realized, progress: Progress, original: Runs | None = None) -> Comparison:
    """Compare the rewritten model with the original on samples that neither fitting nor choosing has seen.

    Args:
        inputs: model and data.
        realized: the rewritten model.
        progress: shows how it goes.
        original: what runs the original, if it is not to be loaded anew.
    """
    report, batch = inputs.data.report, inputs.data.batch
    threads = inputs.calibration.threads
    with progress.stage("Validating", inputs.report_batches) as step:
        batches = counted(labelled_batches(report, batch, whole=inputs.fixed_batch), step)
        first = original or Session(inputs.document.model, threads=threads)
        return compare_models(first, Session(realized.model, threads=threads), batches)
