"""From the plans of several targets to the report of `pareto`."""

from collections.abc import Mapping, Sequence

from onnxshallow.errors import TargetError
from onnxshallow.report.build.changes import decisions
from onnxshallow.report.build.run import cost_report, file_report, run_details
from onnxshallow.report.schema.reports import ParetoPoint, ParetoReport
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import plan_to_json
from onnxshallow.validation.speed import Speed

__all__ = ["pareto_report"]


def pareto_report(
    inputs: Inputs,
    found: Sequence[tuple[int, Attempt | TargetError]],
    speeds: Mapping[frozenset[str], Speed],
    original_ms: float,
    timings: Mapping[str, float],
) -> ParetoReport:
    """What each target costs.

    Args:
        inputs: model, data and options.
        found: ReLU targets, and what came of the plan for each, or why there is none.
        speeds: of the models, by the keys of their plans.
        original_ms: the original's milliseconds a run.
        timings: seconds by stage.
    """
    validated = inputs.data.validated
    points = [
        ParetoPoint(target_relus=target, reason=str(attempt))
        if isinstance(attempt, TargetError)
        else _point(inputs, target, attempt, speeds[attempt.plan.keys])
        for target, attempt in found
    ]
    first = next((a.comparison.first for _, a in found if isinstance(a, Attempt)), None) if validated else None
    return ParetoReport(
        model=file_report(inputs.document),
        original=cost_report(inputs.analysis, first, original_ms),
        points=points,
        validated=validated,
        **run_details(inputs, timings),
    )


def _point(inputs: Inputs, target: int, attempt: Attempt, speed: Speed) -> ParetoPoint:
    plan, realized, comparison = attempt.plan, attempt.realized, attempt.comparison
    if realized.unstable is not None:
        return ParetoPoint(target_relus=target, reason=f"The best plan is refused: {realized.unstable}.")
    validated = inputs.data.validated
    return ParetoPoint(
        target_relus=target,
        optimized=cost_report(realized.analysis, comparison.second if validated else None, speed.optimized_ms),
        accuracy_lost=comparison.accuracy_lost if validated else None,
        accuracy_lost_interval=comparison.drop_interval if validated else None,
        fidelity=attempt.fidelity,
        speed=speed,
        damage=plan.damage,
        decisions=decisions(inputs.analysis, plan),
        plan=plan_to_json(plan, inputs.document.sha256),
    )
