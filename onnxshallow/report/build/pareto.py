"""From the plans of several targets to the report of `pareto`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from onnxshallow.errors import TargetError
from onnxshallow.options.config import Config
from onnxshallow.private.tariff import Tariff
from onnxshallow.report.build.changes import decisions
from onnxshallow.report.build.run import cost_report, file_report, run_details
from onnxshallow.report.schema.reports import ParetoPoint, ParetoReport, Verdict
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import plan_to_json
from onnxshallow.search.planner import read_budget
from onnxshallow.search.targets import missed_targets
from onnxshallow.validation.judgement import About, Finding, Judgement, judge
from onnxshallow.validation.speed import Speed

__all__ = ["By", "pareto_report"]

By = Literal["relus", "macs", "params", "size", "private", "bytes", "messages"]
"""What the targets of a frontier are of."""


def pareto_report(
    inputs: Inputs,
    found: Sequence[tuple[Config, Attempt | TargetError]],
    by: By,
    speeds: Mapping[frozenset[str], Speed],
    original_ms: float,
    timings: Mapping[str, float],
) -> ParetoReport:
    """What each target costs.

    Args:
        inputs: model, data and options.
        found: options with one target each, and what came of the plan for it, or why there is none.
        by: what the targets are of.
        speeds: of the models, by the keys of their plans.
        original_ms: the original's milliseconds a run.
        timings: seconds by stage.
    """
    validated = inputs.data.validated
    judged = [_judged(replace(inputs, config=config), attempt) for config, attempt in found]
    points = [
        ParetoPoint(**_target(inputs, config, by), reason=str(attempt))
        if isinstance(attempt, TargetError)
        else _point(inputs, _target(inputs, config, by), config, attempt, speeds[attempt.plan.keys], judgement)
        for (config, attempt), judgement in zip(found, judged, strict=True)
    ]
    first = next((a.comparison.first for _, a in found if isinstance(a, Attempt)), None) if validated else None
    return ParetoReport(
        model=file_report(inputs.document),
        original=cost_report(inputs.analysis, first, original_ms, Tariff.from_config(inputs.config)),
        points=points,
        by=by,
        validated=validated,
        verdict=_verdict(judged, validated),
        **run_details(inputs, timings),
    )


def _target(inputs: Inputs, config: Config, by: By) -> dict[str, Any]:
    """The target of a point: the most ReLUs, or the most of what else is limited."""
    tariff, analysis = Tariff.from_config(config), inputs.analysis
    if tariff is not None:
        return {"target_relus": analysis.cost.relus, "target": tariff.limit(analysis)}
    budget = read_budget(config, analysis)
    if by == "relus":
        return {"target_relus": budget.relus or 0}
    limit = {"macs": budget.macs, "params": budget.params, "size": budget.size_bytes}[by]
    return {"target_relus": analysis.cost.relus, "target": limit}


def _judged(inputs: Inputs, found: Attempt | TargetError) -> Judgement:
    """Whether the model of one target may be shipped."""
    if isinstance(found, TargetError):
        return judge([Finding("target", str(found), refuses=True)])
    missed = missed_targets(inputs.config, inputs.budget, inputs.analysis, found.realized.analysis)
    return judge([*found.findings, *found.against_the_data(inputs), *missed])


def _verdict(judged: Sequence[Judgement], validated: bool) -> Verdict:
    """One for all points: that one of them may be used is enough. What the data say counts for all of them."""
    usable, targets = [judgement for judgement in judged if not judgement.refusals], len(judged)
    everything = dict.fromkeys(finding for judgement in judged for finding in judgement.findings)
    found = [finding for finding in everything if finding.about == "data" and not finding.refuses]
    doubtful = sum(any(finding.about == "accuracy" for finding in judgement.findings) for judgement in usable)
    if doubtful:
        text = f"{doubtful} of these may lose more than a gate allows, by so few samples; validate on more."
        found.append(Finding("accuracy", text))
    if not usable:
        about: About = "accuracy" if any(judgement.status == "accuracy" for judgement in judged) else "target"
        text = f"None of {targets} targets is reached by a model that may be used; each says why."
        found.append(Finding(about, text, refuses=True))
    whole = judge(found)
    met = "Goal met" if validated else "Targets reached, not validated"
    return Verdict(
        status=whole.status,
        exit_code=int(whole.exit_code),
        validated=validated,
        reasons=[finding.text for finding in whole.findings],
        line=whole.line([f"{len(usable)} of {targets} targets"], met),
        findings=whole.findings,
    )


def _point(
    inputs: Inputs, target: dict[str, Any], config: Config, attempt: Attempt, speed: Speed, judgement: Judgement
) -> ParetoPoint:
    plan, realized, comparison = attempt.plan, attempt.realized, attempt.comparison
    reason = " ".join(finding.text for finding in judgement.refusals) or None
    if any(finding.about == "stability" for finding in judgement.refusals):
        return ParetoPoint(**target, reason=reason)
    validated = inputs.data.validated
    return ParetoPoint(
        **target,
        reason=reason,
        optimized=cost_report(
            realized.analysis,
            comparison.second if validated else None,
            speed.optimized_ms,
            Tariff.from_config(config),
        ),
        accuracy_lost=comparison.accuracy_lost if validated else None,
        accuracy_lost_interval=comparison.drop_interval if validated else None,
        fidelity=attempt.fidelity,
        speed=speed,
        stability=attempt.stability,
        damage=plan.damage,
        decisions=decisions(inputs.analysis, plan),
        plan=plan_to_json(plan, inputs.document.sha256),
    )
