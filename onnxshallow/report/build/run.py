"""From what was found and done to the reports of `analyze`, `sensitivity`, `optimize` and `apply`."""

from collections.abc import Mapping, Sequence
from typing import Any

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.registry import actions, removal
from onnxshallow.analysis import Analysis
from onnxshallow.analysis.affine_ops import training_nodes
from onnxshallow.analysis.others import other_activations
from onnxshallow.data.prepare import Prepared
from onnxshallow.model.document import Document
from onnxshallow.options.config import Config
from onnxshallow.private.tariff import Tariff
from onnxshallow.report.build.changes import change_reports, decisions, plan_points
from onnxshallow.report.build.nodes import node_reports
from onnxshallow.report.build.provenance import provenance_report
from onnxshallow.report.build.quantization import nodes_to_exclude
from onnxshallow.report.build.validation import class_details
from onnxshallow.report.build.verdict import verdict_report
from onnxshallow.report.schema.reports import (
    AnalysisReport,
    CostReport,
    FileReport,
    FrontierPoint,
    PlanReport,
    Report,
    SensitivityReport,
    SiteReport,
)
from onnxshallow.search.attempt import Attempt
from onnxshallow.search.candidates import find_candidates
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan, plan_to_json
from onnxshallow.search.prospect import prospects
from onnxshallow.search.run import Run
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from onnxshallow.validation.compare import Accuracy
from onnxshallow.validation.fixed_point import FixedPoint
from onnxshallow.validation.judgement import Judgement
from onnxshallow.validation.speed import Speed
from onnxshallow.versions import versions

__all__ = [
    "analysis_report",
    "build_report",
    "cost_report",
    "file_report",
    "plan_report",
    "run_details",
    "sensitivity_report",
    "site_reports",
]


def cost_report(
    analysis: Analysis,
    accuracy: Accuracy | None = None,
    latency_ms: float | None = None,
    tariff: Tariff | None = None,
) -> CostReport:
    """Counts and figures of one model, and what private inference is charged by a tariff."""
    return CostReport(
        **vars(analysis.cost),
        accuracy=accuracy,
        latency_ms=latency_ms,
        **_price(analysis, tariff),
    )


def _price(analysis: Analysis, tariff: Tariff | None) -> dict[str, Any]:
    return {} if tariff is None else {"price": tariff.charge(analysis), "price_of": tariff.title}


def file_report(document: Document) -> FileReport:
    """Where a model came from."""
    return FileReport(path=str(document.path), sha256=document.sha256)


def analysis_report(document: Document, analysis: Analysis) -> AnalysisReport:
    """What `analyze` says of a model."""
    return AnalysisReport(
        model=file_report(document),
        totals=cost_report(analysis),
        sites=site_reports(analysis),
        unknown=list(analysis.cost.unknown),
        other_activations=list(other_activations(analysis.network)),
        provenance=provenance_report(document.model),
        prospects=prospects(analysis),
    )


def sensitivity_report(inputs: Inputs, measured: MeasuredDamages) -> SensitivityReport:
    """What `sensitivity` says of a model."""
    sites = site_reports(inputs.analysis, measured)
    return SensitivityReport(
        model=file_report(inputs.document),
        totals=cost_report(inputs.analysis),
        sites=sites,
        measure=inputs.config.sensitivity,
        samples=len(inputs.data.selection),
        source=inputs.data.selection.source,
        outputs=inputs.kinds,
        versions=versions(),
        seed=inputs.config.seed,
        providers=inputs.placed,
        nodes_to_exclude=nodes_to_exclude(inputs.analysis, sites),
    )


def plan_report(inputs: Inputs, plan: Plan, made: Analysis, timings: Mapping[str, float]) -> PlanReport:
    """What a plan would do.

    Args:
        inputs: model, data and options.
        plan: the plan, not carried out.
        made: a model written by it, with any weights.
        timings: seconds by stage.
    """
    tariff = Tariff.from_config(inputs.config)
    return PlanReport(
        model=file_report(inputs.document),
        original=cost_report(inputs.analysis, tariff=tariff),
        predicted=CostReport(**vars(made.cost), **_price(made, tariff)),
        damage=plan.predicted,
        decisions=decisions(inputs.analysis, plan),
        changes=change_reports(plan),
        plan=plan_to_json(plan, inputs.document.sha256),
        measure=inputs.config.sensitivity,
        samples=len(inputs.data.selection),
        source=inputs.data.selection.source,
        outputs=inputs.kinds,
        validated=False,
        **run_details(inputs, timings),
    )


def run_details(inputs: Inputs, timings: Mapping[str, float]) -> dict[str, Any]:
    """What the report of a run says of how it ran: its times, versions, options, seed, and on what it ran.

    Args:
        inputs: model, data and options.
        timings: seconds by stage.
    """
    config = inputs.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "timings": dict(timings),
        "versions": versions(),
        "config": config,
        "seed": inputs.config.seed,
        "providers": inputs.placed,
    }


def site_reports(analysis: Analysis, measured: MeasuredDamages | None = None) -> list[SiteReport]:
    """The sites with their reasons, and with their damages where these were measured."""
    mergers = [action for action in actions() if action.candidate_class.kind == "merger"]
    candidates, refusals = find_candidates(analysis, FindOptions(), mergers)
    fusable = {name for candidate in candidates for name in candidate.sites}
    result = []
    for site in analysis.sites:
        known = {} if measured is None else measured.damages
        here = () if measured is None else [c for c in measured.candidates if site.name in c.sites]
        merged = [c.key for c in here if c.kind == "merger" and c.key in known]
        result.append(
            SiteReport(
                name=site.name,
                kind=site.kind,
                size=site.size,
                depth=analysis.depths[site.node] if site.node >= 0 else None,
                removable=site.refusal is None,
                fusable=site.name in fusable,
                reason=site.refusal or refusals.get(site.name),
                sensitivity=known.get(removal(site).key),
                damages=None if measured is None else {c.key: known.get(c.key) for c in here},
                best_merger=min(merged, key=known.__getitem__, default=None),
            )
        )
    return result


def build_report(
    inputs: Inputs,
    attempt: Attempt | None,
    speed: Speed | None,
    judgement: Judgement,
    facts: Sequence[str],
    remarks: Sequence[str],
    timings: Mapping[str, float],
    run: Run | None = None,
    rounded: FixedPoint | None = None,
) -> Report:
    """The report of a run, without the output file, which is not written yet.

    Args:
        inputs: model, data and options.
        attempt: what was done, and what came of it; None where the target is out of reach.
        speed: of the optimized model, where there is one.
        judgement: of what was made, or of why nothing was.
        facts: what was reached and what was lost, in a few words each.
        remarks: what else is to be said.
        timings: seconds by stage.
        run: with what was measured and the plans that competed, where some did.
        rounded: what fixed point makes of the optimized model, where that was looked at.
    """
    analysis = inputs.analysis
    tariff = Tariff.from_config(inputs.config)
    plan = Plan((), {}) if attempt is None else attempt.plan
    after = None if attempt is None else attempt.realized.analysis
    shown = attempt.comparison if attempt is not None and inputs.data.validated else None
    accuracies = (None, None) if shown is None else (shown.first, shown.second)
    before_ms, after_ms = (None, None) if speed is None else (speed.original_ms, speed.optimized_ms)
    frontier = [] if run is None else plan_points(analysis.cost, run.frontier(), plan)
    return Report(
        model=file_report(inputs.document),
        output=None,
        original=cost_report(analysis, accuracies[0], before_ms, tariff),
        optimized=None if after is None else cost_report(after, accuracies[1], after_ms, tariff),
        decisions=decisions(analysis, plan, None if run is None else run.meter.measured),
        changes=change_reports(plan),
        plans=plan_points(analysis.cost, () if run is None else run.competed, plan),
        frontier=[FrontierPoint(relus=p.relus, macs=p.macs, expected=p.damage) for p in frontier],
        original_nodes=node_reports(analysis, plan.candidates),
        optimized_nodes=[] if after is None else node_reports(after),
        fidelity=None if attempt is None else attempt.fidelity,
        speed=speed,
        verdict=verdict_report(
            judgement, shown, facts, [*_remarks(analysis, inputs.data), *remarks], _met(inputs.config, inputs.data)
        ),
        gates=[] if attempt is None else attempt.gates,
        stability=None if attempt is None else attempt.stability,
        fixed_point=rounded,
        calibration_samples=inputs.data.calibrated,
        **run_details(inputs, timings),
        **({} if shown is None else class_details(shown)),
    )


def _remarks(analysis: Analysis, data: Prepared) -> list[str]:
    """What is to be said of the data, and why a network as a whole gives little to do."""
    said = [] if data.validated else ["not validated: calibrated on synthetic images, no accuracy is known"]
    if not analysis.sites:
        said.append("the model has no ReLU, so there was none to remove")
    if others := other_activations(analysis.network):
        said.append(f"not counted, and left as they are: {', '.join(others)}")
    if unknown := analysis.cost.unknown:
        said.append(f"{len(unknown)} nodes are not counted, as their shapes are not known, such as {unknown[0]!r}")
    if names := training_nodes(analysis.network):
        said.append(
            f"node {names[0]!r} runs in training mode, so that outputs depend on the batch or on chance; export the "
            "model in evaluation mode"
        )
    if analysis.layers.quantized:
        said.append("layers with quantized weights were left alone; optimize the model before quantizing it")
    return said


def _met(config: Config, data: Prepared) -> str:
    """What is said first of a model that nothing refuses."""
    if data.validated:
        return "Goal met"
    return "Target reached, not validated" if config.has_target else "Plan carried out, not validated"
