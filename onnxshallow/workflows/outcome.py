"""The end of a run that made a model: what came of it, judged, as one result."""

from collections.abc import Sequence

from onnxshallow.errors import AccuracyError, OnnxshallowError, TargetError, UsageError
from onnxshallow.options.config import Config
from onnxshallow.report.build.run import build_report
from onnxshallow.runtime.progress import Clock
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.choose import check_accuracy
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.latency import check_latency, measured_latency
from onnxshallow.search.run import Run
from onnxshallow.validation.synthetic import synthetic_findings
from onnxshallow.workflows.result import Result

__all__ = ["outcome", "require_data_for_drop", "unreached"]

# Parabolas that were fitted to fewer samples are told to be a risk.
_ENOUGH_FOR_SQUARES = 256


def require_data_for_drop(config: Config) -> None:
    """Make sure that an accuracy budget can be checked.

    Raises:
        UsageError: there are no real inputs to check it on.
    """
    if config.max_drop is not None and config.calib is None and config.validate_data is None:
        raise UsageError("--max-drop needs real inputs to be checked on: give --calib or --validate.")


def _remarks_on_squares(inputs: Inputs, attempt: Attempt) -> list[str]:
    """A remark where squares were fitted to few samples, or to made-up ones."""
    samples = len(inputs.data.fit) + len(inputs.data.selection)
    if not any(c.squares for c in attempt.plan.candidates):
        return []
    if inputs.data.synthetic:
        return ["the squares were fitted to synthetic images, and may blow up on real ones; give --calib"]
    if samples >= _ENOUGH_FOR_SQUARES:
        return []
    return [f"the squares were fitted to {samples} samples only, and may blow up on others; give more with --calib"]


def outcome(inputs: Inputs, attempt: Attempt, reasons: Sequence[str], clock: Clock, run: Run | None = None) -> Result:
    """What was made, judged, and everything known of it as one report.

    Args:
        inputs: model, data and options.
        attempt: the plan that is kept.
        reasons: remarks.
        clock: seconds by stage.
        run: with what was measured and the plans that competed, where some did.
    """
    model = attempt.realized.model
    with clock("latency"):
        before, after = measured_latency(inputs, [model])
    close = check_accuracy(inputs, attempt) or _check_sorts(attempt)
    error = close or check_latency(inputs, [before, after]) or _check_relus(inputs, attempt)
    reasons = [*reasons, *_remarks_on_squares(inputs, attempt)]
    report = build_report(inputs, attempt, (before, after), error, reasons, clock.seconds, run)
    return Result(inputs.document, model, attempt.plan, report, error)


def unreached(inputs: Inputs, error: OnnxshallowError, clock: Clock) -> Result:
    """The result of a run that made no model, since its target is out of reach."""
    return Result(inputs.document, None, None, build_report(inputs, None, None, error, [], clock.seconds), error)


def _check_sorts(attempt: Attempt) -> AccuracyError | None:
    """An error where synthetic samples, which are all that there are, do not vouch for the model."""
    found = synthetic_findings(attempt.comparison.fidelity.sorts)
    return AccuracyError(found[0].text) if found else None


def _check_relus(inputs: Inputs, attempt: Attempt) -> TargetError | None:
    """An error where the written model has more ReLUs than were asked for."""
    wanted, found = inputs.budget.relus, attempt.realized.analysis.cost.relus
    if wanted is None or found <= wanted:
        return None
    return TargetError(
        f"The best plan leaves {found} ReLUs of the {wanted} that --target-relus allows; lower the target a little."
    )
