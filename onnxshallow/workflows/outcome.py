"""The end of a run that made a model: what came of it, judged, as one result."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxshallow import __version__
from onnxshallow.analysis import Analysis
from onnxshallow.data.prepare import labelled_batches
from onnxshallow.errors import ModelError, TargetError, UsageError
from onnxshallow.model.document import Document
from onnxshallow.model.provenance import with_provenance
from onnxshallow.model.weights import byte_size
from onnxshallow.options.config import Config
from onnxshallow.report.build.provenance import provenance
from onnxshallow.report.build.run import build_report
from onnxshallow.report.build.training import training_report
from onnxshallow.runtime.progress import Clock
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.latency import measured_speeds
from onnxshallow.search.run import Run
from onnxshallow.search.targets import missed_targets, shares_kept
from onnxshallow.search.trained import Trained
from onnxshallow.text import printable
from onnxshallow.validation.fixed_point import FixedPoint, fixed_point, fixed_point_findings
from onnxshallow.validation.judgement import Finding, judge
from onnxshallow.validation.speed import speed_finding
from onnxshallow.workflows.result import Result

__all__ = ["outcome", "require_data_for_gates", "unreached"]

logger = logging.getLogger(__name__)

# Samples that are run in fixed point.
_IN_FIXED_POINT = 64
# Layers that are named where more have the same fault.
_NAMED = 3
# Parabolas that were fitted to fewer samples are told to be a risk.
_ENOUGH_FOR_SQUARES = 256


def require_data_for_gates(config: Config) -> None:
    """Make sure that the gates can be checked.

    Raises:
        UsageError: there are no real inputs to check them on.
    """
    for gate in ("max_drop", "min_agreement", "max_error"):
        if getattr(config, gate) is not None and config.calib is None and config.validate_data is None:
            option = gate.replace("_", "-")
            raise UsageError(f"--{option} needs real inputs to be checked on: give --calib or --validate.")


def _remarks_on_squares(inputs: Inputs, attempt: Attempt) -> list[str]:
    """A remark where squares were fitted to few samples, or to made-up ones."""
    samples = inputs.data.calibrated
    if attempt.stability is None:
        return []
    if inputs.data.synthetic:
        return ["the squares were fitted to synthetic images, and may blow up on real ones; give --calib"]
    if samples >= _ENOUGH_FOR_SQUARES:
        return []
    return [f"the squares were fitted to {samples} samples only, and may blow up on others; give more with --calib"]


def _remarks_on_rows(inputs: Inputs, attempt: Attempt) -> list[str]:
    """A remark where layers after a change could not follow it, for want of samples; and which option gives more."""
    short = attempt.realized.short
    if not short:
        return []
    named = ", ".join(map(printable, short[:_NAMED])) + (", ..." if len(short) > _NAMED else "")
    option = "--calib-samples" if len(inputs.data.pool) > inputs.data.calibrated else "--calib"
    what = "1 layer was" if len(short) == 1 else f"{len(short)} layers were"
    return [f"{what} not re-fitted, with too few rows of samples: {named}; give more with {option}"]


def _remarks_on_removed(attempt: Attempt) -> list[str]:
    """A remark on what went as it changes nothing; where nothing else was to go, also where there was nothing."""
    removed = attempt.realized.removed
    return [removed.in_words] if removed is not None and (removed or not attempt.plan.candidates) else []


def outcome(
    inputs: Inputs,
    attempt: Attempt,
    remarks: Sequence[str],
    clock: Clock,
    run: Run | None = None,
    *,
    force: bool = False,
    trained: Trained | None = None,
    start: Document | None = None,
    moved: Sequence[Finding] = (),
) -> Result:
    """What was made, judged, and everything known of it as one report.

    Args:
        inputs: model, data and options.
        attempt: the plan that is kept.
        remarks: what else is to be said.
        clock: seconds by stage.
        run: with what was measured and the plans that competed, where some did.
        force: whether the model is wanted also where it is refused.
        trained: how its weights learned, where they did.
        start: the optimized model that was given, where one was.
        moved: what speaks against calling it the same, where nothing but what changes nothing went.
    """
    config, original, made = inputs.config, inputs.analysis, attempt.realized.analysis
    model, removed = attempt.realized.written, attempt.realized.removed
    with clock("latency"):
        (measured,) = measured_speeds(inputs, [model])
    model = inputs.document.written(model)
    told = None
    if trained is not None:
        told = training_report(inputs, trained, clock.seconds.get("train", 0.0), start)
    if attempt.plan.candidates or removed or (told is not None and told.kept):
        said = provenance(__version__, inputs, attempt.plan, told, start) if config.metadata else None
        model = with_provenance(model, said)
    size = byte_size(model)
    speed = speed_finding(measured, config.target_latency)
    rounded = _in_fixed_point(inputs, made)
    judgement = judge(
        [
            *attempt.findings,
            *moved,
            *_lost_in_fixed_point(inputs, rounded),
            *attempt.against_the_data(inputs),
            *missed_targets(config, inputs.budget, original, made, size),
            *([speed] if speed.refuses else []),
        ],
        forced=force,
    )
    steady = [] if attempt.stability is None else [attempt.stability.in_short]
    kept = shares_kept(config, original, made, size)
    facts = [*kept, *(gate.in_short() for gate in attempt.gates), *steady, speed.text]
    learned = () if trained is None else trained.remarks
    remarks = [*inputs.document.remarks, *remarks, *learned, *_remarks_on_squares(inputs, attempt)]
    remarks += _remarks_on_rows(inputs, attempt) + _remarks_on_removed(attempt)
    report = build_report(inputs, attempt, measured, judgement, facts, remarks, clock.seconds, run, rounded)
    if told is not None:
        report = report.model_copy(update={"training": told, **({} if start is None else {"decisions": []})})
    if removed is not None:
        report = report.model_copy(update={"lossless": removed})
    if report.optimized is not None:
        report = report.model_copy(update={"optimized": replace(report.optimized, size_bytes=size)})
    return Result(inputs.document, model, attempt.plan, report, judgement.error)


def _in_fixed_point(inputs: Inputs, analysis: Analysis) -> FixedPoint | None:
    """What fixed point makes of a model, where private inference is what it is for; None where that is not known."""
    config, data = inputs.config, inputs.data
    if not config.has_price and config.private_model is None:
        return None
    samples = data.report.take(np.arange(min(len(data.report), max(_IN_FIXED_POINT, data.batch))))
    batches = [feeds for feeds, _ in labelled_batches(samples, data.batch, whole=inputs.fixed_batch)]
    try:
        return fixed_point(analysis, batches, threads=inputs.calibration.threads)
    except ModelError as error:
        logger.warning("What fixed point makes of the model is not known: %s", error)
        return None


def _lost_in_fixed_point(inputs: Inputs, found: FixedPoint | None) -> list[Finding]:
    """What speaks against a model that fixed point loses, unless it loses the original too."""
    lost = fixed_point_findings(found, "Raise the target, or take --granularity layer.")
    if not lost or not fixed_point_findings(_in_fixed_point(inputs, inputs.analysis)):
        return lost
    return [replace(finding, text=f"{finding.text} So is the original.", refuses=False) for finding in lost]


def unreached(inputs: Inputs, error: TargetError, clock: Clock) -> Result:
    """The result of a run that made no model, since its target is out of reach."""
    judgement = judge([Finding("target", str(error), refuses=True)])
    report = build_report(inputs, None, None, judgement, [], [], clock.seconds)
    return Result(inputs.document, None, None, report, error)
