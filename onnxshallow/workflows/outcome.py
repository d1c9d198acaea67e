"""The end of a run that made a model: what came of it, judged, as one result."""

from collections.abc import Mapping

from onnxshallow.analysis import Analysis
from onnxshallow.analysis import analyze as analyze_model
from onnxshallow.errors import OnnxshallowError, TargetError, UsageError
from onnxshallow.options.config import Config
from onnxshallow.report.build.run import build_report
from onnxshallow.runtime.progress import Clock
from onnxshallow.search.choose import Attempt, Run
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.latency import check_latency, measured_latency
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import read_budget
from onnxshallow.workflows.result import Result

__all__ = ["outcome", "require_data_for_drop", "warn_of_few_samples"]

# Parabolas that were fitted to fewer samples are told to be a risk.
_ENOUGH_FOR_SQUARES = 256


def require_data_for_drop(config: Config) -> None:
    """Make sure that an accuracy budget can be checked.

    Raises:
        UsageError: there are no real inputs to check it on.
    """
    if config.max_drop is not None and config.calib is None and config.validate_data is None:
        raise UsageError("--max-drop needs real inputs to be checked on: give --calib or --validate.")


def warn_of_few_samples(inputs: Inputs, attempt: Attempt) -> list[str]:
    """A remark where squares were fitted to few samples, or to made-up ones."""
    samples = len(inputs.data.fit) + len(inputs.data.selection)
    if not any(c.squares for c in attempt.plan.candidates):
        return []
    if inputs.data.synthetic:
        return ["the squares were fitted to synthetic images, and may blow up on real ones; give --calib"]
    if samples >= _ENOUGH_FOR_SQUARES:
        return []
    return [f"the squares were fitted to {samples} samples only, and may blow up on others; give more with --calib"]


def outcome(
    inputs: Inputs,
    attempt: Attempt | None,
    error: OnnxshallowError | None,
    reasons: list[str],
    clock: Clock,
    run: Run | None = None,
) -> Result:
    """Everything known, as one report."""
    after: Analysis | None = None
    latency: Mapping[str, float] = {}
    if attempt is not None:
        after = analyze_model(attempt.realized.model, inputs.config.input_shape)
        with clock("latency"):
            milliseconds = measured_latency(inputs, [attempt.realized.model])
        latency = dict(zip(("original", "optimized"), milliseconds, strict=True))
        error = error or check_latency(inputs, milliseconds) or _missed(inputs, after)
    report = build_report(
        inputs,
        attempt.plan if attempt else Plan((), {}),
        attempt.comparison if attempt else None,
        after,
        attempt.realized if attempt else None,
        latency,
        error,
        reasons,
        clock.seconds,
        run.looked_at if run else (),
        run.damages.measured if run else None,
        run.frontier() if run else (),
    )
    return Result(
        inputs.document,
        attempt.realized.model if attempt else None,
        attempt.plan if attempt else None,
        report,
        error,
    )


def _missed(inputs: Inputs, after: Analysis) -> TargetError | None:
    """An error where the written model has more ReLUs than were asked for."""
    wanted, found = read_budget(inputs.config, inputs.analysis).relus, after.cost.relus
    if wanted is None or found <= wanted:
        return None
    return TargetError(
        f"The best plan leaves {found} ReLUs of the {wanted} that --target-relus allows; lower the target a little."
    )
