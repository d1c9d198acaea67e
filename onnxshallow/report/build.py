"""From a run's results to the report."""

from collections.abc import Mapping, Sequence

from onnxshallow.actions.apply import ACTIONS
from onnxshallow.actions.base import Candidate, FindOptions
from onnxshallow.analysis import Analysis, Cost
from onnxshallow.damages import Sensitivity
from onnxshallow.data.prepare import Prepared
from onnxshallow.errors import AccuracyError, OnnxshallowError
from onnxshallow.model.document import Document
from onnxshallow.model.weights import byte_size
from onnxshallow.planning.plan import Plan
from onnxshallow.planning.realize import Realized
from onnxshallow.report.nodes import node_reports
from onnxshallow.report.schema import (
    AccuracyReport,
    AnalysisReport,
    ChangeReport,
    CostReport,
    Decision,
    FidelityReport,
    FileReport,
    FrontierPoint,
    PlanPoint,
    Report,
    SensitivityReport,
    SiteReport,
    Verdict,
)
from onnxshallow.stages import Inputs
from onnxshallow.validation.compare import Accuracy, Comparison
from onnxshallow.versions import versions

__all__ = [
    "accuracy_report",
    "analysis_report",
    "build_report",
    "change_reports",
    "cost_report",
    "decisions",
    "fidelity_report",
    "plan_points",
    "sensitivity_report",
    "site_reports",
]


def cost_report(
    cost: Cost,
    accuracy: Accuracy | None = None,
    size_bytes: int | None = None,
    latency_ms: float | None = None,
) -> CostReport:
    """Counts and figures of one model."""
    return CostReport(
        relus=cost.relus,
        relu_nodes=cost.relu_nodes,
        comparisons=cost.comparisons,
        macs=cost.macs,
        params=cost.params,
        conv_layers=cost.conv_layers,
        linear_layers=cost.linear_layers,
        depth=cost.depth,
        size_bytes=size_bytes,
        accuracy=accuracy_report(accuracy),
        latency_ms=latency_ms,
    )


def accuracy_report(accuracy: Accuracy | None) -> AccuracyReport | None:
    """Accuracy in the report's form."""
    return None if accuracy is None else AccuracyReport(**vars(accuracy))


def fidelity_report(comparison: Comparison, source: str, composition_error: float | None = None) -> FidelityReport:
    """Fidelity in the report's form."""
    fidelity = comparison.fidelity
    return FidelityReport(
        samples=fidelity.samples,
        source=source,
        agreement=fidelity.agreement,
        kl=fidelity.kl,
        relative_error=dict(fidelity.relative_error),
        composition_error=composition_error,
    )


def decisions(analysis: Analysis, plan: Plan, sensitivity: Sensitivity | None = None) -> list[Decision]:
    """One decision a site: what the plan does to it, or why it stays.

    Args:
        analysis: of the original.
        plan: what was done.
        sensitivity: what was measured, where something was.
    """
    by_site = {name: candidate for candidate in plan.candidates for name in candidate.sites}
    result = []
    for site in analysis.sites:
        candidate = by_site.get(site.name)
        least = None if sensitivity is None else _least_damage(site.name, sensitivity)
        if candidate is None:
            reason = f"cannot be removed: {site.refusal}" if site.refusal else "not part of the plan"
            kept = Decision(
                name=site.name, kind=site.kind, size=site.size, action="keep", reason=reason, sensitivity=least
            )
            result.append(kept)
            continue
        result.append(
            Decision(
                name=site.name,
                kind=site.kind,
                size=site.size,
                action=candidate.action,
                kernel=None if candidate.kernel is None else list(candidate.kernel),
                reason=_reason(candidate),
                damage=plan.damages.get(candidate.key),
                exactness=candidate.exactness,
                merged_into=candidate.output if candidate.kernel is not None else None,
                sensitivity=least,
            )
        )
    return result


def _least_damage(site: str, sensitivity: Sensitivity) -> float | None:
    """The least damage that was measured for removing `site` and no other site."""
    alone = [c.key for c in sensitivity.candidates if c.sites == (site,)]
    return min((sensitivity.damages[key] for key in alone if key in sensitivity.damages), default=None)


def change_reports(plan: Plan) -> list[ChangeReport]:
    """What the plan does, change by change."""
    return [
        ChangeReport(
            key=candidate.key,
            action=candidate.action,
            sites=list(candidate.sites),
            source=candidate.source,
            output=candidate.output,
            kernel=None if candidate.kernel is None else list(candidate.kernel),
            rank=candidate.rank,
            exactness=candidate.exactness,
            relus_saved=candidate.relus,
            macs_saved=candidate.macs,
            damage=plan.damages.get(candidate.key),
            what=_reason(candidate),
        )
        for candidate in plan.candidates
    ]


def plan_points(cost: Cost, plans: Sequence[Plan], chosen: Plan) -> list[PlanPoint]:
    """The plans that were looked at, those that keep most ReLUs first.

    Args:
        cost: of the original.
        plans: with their measured damages.
        chosen: the plan that was carried out.
    """
    different = {plan.keys: plan for plan in plans}
    points = [
        PlanPoint(
            relus=cost.relus - sum(c.relus for c in plan.candidates),
            macs=cost.macs - sum(c.macs for c in plan.candidates),
            damage=plan.damage,
            predicted=plan.predicted,
            chosen=plan.keys == chosen.keys,
        )
        for plan in different.values()
    ]
    return sorted(points, key=lambda point: (-point.relus, -point.macs, point.damage or 0.0))


def _reason(candidate: Candidate) -> str:
    if candidate.rank is not None:
        return f"the layer that makes {candidate.output!r} became two, with {candidate.rank} channels between them"
    if candidate.kernel is None:
        return "replaced by the least-squares affine map of its channels"
    kernel = "x".join(str(size) for size in candidate.kernel) or "single"
    how = {
        "fitted": f"one {kernel} convolution, fitted to calibration activations",
        "exact": f"one {kernel} convolution, composed exactly",
        "border": f"one {kernel} convolution, composed; exact except where padding reaches in from the border",
    }
    return f"the layers from {candidate.source!r} to {candidate.output!r} became {how[candidate.exactness]}"


def analysis_report(document: Document, analysis: Analysis) -> AnalysisReport:
    """What `analyze` says of a model."""
    return AnalysisReport(
        model=FileReport(path=str(document.path), sha256=document.sha256),
        totals=cost_report(analysis.cost, size_bytes=byte_size(document.model)),
        sites=site_reports(analysis),
        unknown=list(analysis.cost.unknown),
    )


def sensitivity_report(inputs: Inputs, sensitivity: Sensitivity) -> SensitivityReport:
    """What `sensitivity` says of a model."""
    return SensitivityReport(
        model=FileReport(path=str(inputs.document.path), sha256=inputs.document.sha256),
        totals=cost_report(inputs.analysis.cost, size_bytes=byte_size(inputs.document.model)),
        sites=site_reports(inputs.analysis, sensitivity),
        measure=inputs.config.sensitivity,
        samples=len(inputs.data.selection),
        source=inputs.data.selection.source,
        versions=versions(),
        seed=inputs.config.seed,
    )


def site_reports(analysis: Analysis, sensitivity: Sensitivity | None = None) -> list[SiteReport]:
    """The sites with their reasons, and with their damages where these were measured."""
    fusion = next(action for action in ACTIONS if action.name == "fuse").find(analysis, FindOptions())
    fusable = {name for candidate in fusion.candidates for name in candidate.sites}
    result = []
    for site in analysis.sites:
        damages = None if sensitivity is None else _damages_at(site.name, sensitivity)
        single = None if sensitivity is None else _single_damage(site.name, sensitivity)
        result.append(
            SiteReport(
                name=site.name,
                kind=site.kind,
                size=site.size,
                depth=analysis.depths[site.node] if site.node >= 0 else None,
                removable=site.refusal is None,
                fusable=site.name in fusable,
                reason=site.refusal or fusion.refusals.get(site.name),
                sensitivity=single,
                damages=damages,
            )
        )
    return result


def _damages_at(site: str, sensitivity: Sensitivity) -> dict[str, float | None]:
    """Damage of every candidate that removes `site`, by key."""
    return {c.key: sensitivity.damages.get(c.key) for c in sensitivity.candidates if site in c.sites}


def _single_damage(site: str, sensitivity: Sensitivity) -> float | None:
    """The site's ReLU sensitivity: the damage of removing it and nothing else."""
    own = [c for c in sensitivity.candidates if c.sites == (site,) and c.kernel is None]
    return sensitivity.damages.get(own[0].key) if own else None


def build_report(
    inputs: Inputs,
    plan: Plan,
    comparison: Comparison | None,
    after: Analysis | None,
    realized: Realized | None,
    latency: Mapping[str, float],
    error: OnnxshallowError | None,
    reasons: Sequence[str],
    timings: Mapping[str, float],
    looked_at: Sequence[Plan] = (),
    sensitivity: Sensitivity | None = None,
    frontier: Sequence[Plan] = (),
) -> Report:
    """The report of a run, without the output file, which is not written yet.

    Args:
        inputs: model, data and options.
        plan: what was done.
        comparison: of both models on held-out samples.
        after: the optimized model's parts, where there is one.
        realized: the optimized model.
        latency: milliseconds of `original` and `optimized`.
        error: why the goal is not met, if it is not.
        reasons: further remarks.
        timings: seconds by stage.
        looked_at: the plans that competed.
        sensitivity: what was measured of single candidates.
        frontier: what other ReLU counts would cost.
    """
    document, validated = inputs.document, inputs.data.validated
    first = comparison.first if comparison is not None and validated else None
    second = comparison.second if comparison is not None and validated else None
    optimized = None
    if after is not None and realized is not None:
        optimized = cost_report(after.cost, second, byte_size(realized.model), latency.get("optimized"))
    fidelity = None
    if comparison is not None:
        composition_error = None if realized is None else realized.composition_error
        fidelity = fidelity_report(comparison, inputs.data.report.source, composition_error)
    return Report(
        model=FileReport(path=str(document.path), sha256=document.sha256),
        output=None,
        original=cost_report(inputs.analysis.cost, first, byte_size(inputs.document.model), latency.get("original")),
        optimized=optimized,
        decisions=decisions(inputs.analysis, plan, sensitivity),
        changes=change_reports(plan),
        plans=plan_points(inputs.analysis.cost, looked_at, plan),
        frontier=[
            FrontierPoint(relus=point.relus, macs=point.macs, expected=point.damage)
            for point in plan_points(inputs.analysis.cost, frontier, plan)
        ],
        original_nodes=node_reports(inputs.analysis, plan.candidates),
        optimized_nodes=[] if after is None else node_reports(after),
        fidelity=fidelity,
        verdict=_verdict(comparison, inputs.data, error, reasons),
        timings=dict(timings),
        versions=versions(),
        config=inputs.config.model_dump(mode="json", by_alias=True, exclude_none=True),
        seed=inputs.config.seed,
    )


def _verdict(
    comparison: Comparison | None, data: Prepared, error: OnnxshallowError | None, reasons: Sequence[str]
) -> Verdict:
    known = comparison is not None and comparison.first is not None and data.validated
    said = [str(error)] if error is not None else []
    if not data.validated:
        said.append("not validated: calibrated on synthetic images, no accuracy is known")
    return Verdict(
        status="met" if error is None else "accuracy" if isinstance(error, AccuracyError) else "target",
        exit_code=0 if error is None else int(error.exit_code),
        validated=comparison is not None and data.validated,
        accuracy_lost=comparison.drop if comparison is not None and known else None,
        accuracy_lost_interval=comparison.drop_interval if comparison is not None and known else None,
        mcnemar_p=comparison.mcnemar.p_value if comparison is not None and known and comparison.mcnemar else None,
        reasons=[*said, *reasons],
    )
