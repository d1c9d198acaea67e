"""From a run's results to the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.registry import actions, removal
from onnxshallow.analysis import Analysis, Cost
from onnxshallow.analysis.affine_ops import training_nodes
from onnxshallow.search.sensitivity.meter import MeasuredDamages
from onnxshallow.data.prepare import Prepared
from onnxshallow.data.samples import Samples
from onnxshallow.errors import AccuracyError, OnnxshallowError
from onnxshallow.model.document import Document
from onnxshallow.model.weights import byte_size
from onnxshallow.search.plan import Plan, plan_to_json
from onnxshallow.rewriting.realize import Realized
from onnxshallow.report.build.changes import change_reports, decisions, plan_points
from onnxshallow.report.build.nodes import node_reports
from onnxshallow.report.schema.reports import (
    AccuracyReport,
    AnalysisReport,
    ChangedSample,
    ClassReport,
    CostReport,
    FidelityReport,
    FileReport,
    FrontierPoint,
    OutputFidelity,
    PlanReport,
    Report,
    SensitivityReport,
    SiteReport,
    Verdict,
)
from onnxshallow.search.candidates import find_candidates
from onnxshallow.search.inputs import Inputs
from onnxshallow.validation.compare import Accuracy, Comparison
from onnxshallow.validation.outputs import OutputDifference
from onnxshallow.versions import versions

__all__ = [
    "accuracy_report",
    "analysis_report",
    "build_report",
    "class_details",
    "cost_report",
    "fidelity_report",
    "file_report",
    "plan_report",
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
        squares=cost.squares,
        size_bytes=size_bytes,
        accuracy=accuracy_report(accuracy),
        latency_ms=latency_ms,
    )


def file_report(document: Document) -> FileReport:
    """Where a model came from."""
    return FileReport(path=str(document.path), sha256=document.sha256)


def accuracy_report(accuracy: Accuracy | None) -> AccuracyReport | None:
    """Accuracy in the report's form."""
    return None if accuracy is None else AccuracyReport(**vars(accuracy))


def fidelity_report(
    comparison: Comparison, samples: Samples, composition_error: float | None = None
) -> FidelityReport:
    """Fidelity in the report's form.

    Args:
        comparison: of both models.
        samples: on which they were compared.
        composition_error: how far the composed layers are off.
    """
    fidelity = comparison.fidelity
    return FidelityReport(
        samples=fidelity.samples,
        source=samples.source,
        agreement=fidelity.agreement,
        kl=fidelity.kl,
        relative_error=dict(fidelity.relative_error),
        composition_error=composition_error,
        outputs=[_output_fidelity(output, samples) for output in fidelity.outputs],
    )


def _output_fidelity(output: OutputDifference, samples: Samples) -> OutputFidelity:
    worst = None if output.worst_sample is None else samples.position(output.worst_sample)
    return OutputFidelity(**{**vars(output), "shape": list(output.shape), "worst_sample": worst})


def class_details(comparison: Comparison, samples: Samples) -> dict[str, Any]:
    """`classes`, `changed` and `changed_total` in the report's form, for a classifier.

    Args:
        comparison: of both models.
        samples: on which they were compared; positions and names are theirs.
    """
    return {
        "classes": [ClassReport(**vars(count)) for count in comparison.classes],
        "changed": [
            ChangedSample(
                **{**vars(change), "index": samples.position(change.index), "name": samples.name(change.index)}
            )
            for change in comparison.changed
        ],
        "changed_total": comparison.changed_total,
    }


def analysis_report(document: Document, analysis: Analysis) -> AnalysisReport:
    """What `analyze` says of a model."""
    return AnalysisReport(
        model=file_report(document),
        totals=cost_report(analysis.cost, size_bytes=byte_size(document.model)),
        sites=site_reports(analysis),
        unknown=list(analysis.cost.unknown),
    )


def sensitivity_report(inputs: Inputs, measured: MeasuredDamages) -> SensitivityReport:
    """What `sensitivity` says of a model."""
    return SensitivityReport(
        model=file_report(inputs.document),
        totals=cost_report(inputs.analysis.cost, size_bytes=byte_size(inputs.document.model)),
        sites=site_reports(inputs.analysis, measured),
        measure=inputs.config.sensitivity,
        samples=len(inputs.data.selection),
        source=inputs.data.selection.source,
        versions=versions(),
        seed=inputs.config.seed,
    )


def plan_report(inputs: Inputs, plan: Plan, cost: Cost, timings: Mapping[str, float]) -> PlanReport:
    """What a plan would do.

    Args:
        inputs: model, data and options.
        plan: the plan, not carried out.
        cost: of a model written by it, with any weights.
        timings: seconds by stage.
    """
    document, config = inputs.document, inputs.config
    return PlanReport(
        model=file_report(document),
        original=cost_report(inputs.analysis.cost, size_bytes=byte_size(document.model)),
        predicted=cost_report(cost),
        damage=plan.predicted,
        decisions=decisions(inputs.analysis, plan),
        changes=change_reports(plan),
        plan=plan_to_json(plan, document.sha256),
        measure=config.sensitivity,
        samples=len(inputs.data.selection),
        source=inputs.data.selection.source,
        validated=False,
        timings=dict(timings),
        versions=versions(),
        config=config.model_dump(mode="json", by_alias=True, exclude_none=True),
        seed=config.seed,
    )


def site_reports(analysis: Analysis, measured: MeasuredDamages | None = None) -> list[SiteReport]:
    """The sites with their reasons, and with their damages where these were measured."""
    mergers = [action for action in actions() if action.form.kind == "merger"]
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
    plan: Plan,
    comparison: Comparison | None,
    after: Analysis | None,
    realized: Realized | None,
    latency: Mapping[str, float],
    error: OnnxshallowError | None,
    reasons: Sequence[str],
    timings: Mapping[str, float],
    looked_at: Sequence[Plan] = (),
    measured: MeasuredDamages | None = None,
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
        measured: what was measured of single candidates.
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
        fidelity = fidelity_report(comparison, inputs.data.report, composition_error)
    return Report(
        model=file_report(document),
        output=None,
        original=cost_report(inputs.analysis.cost, first, byte_size(inputs.document.model), latency.get("original")),
        optimized=optimized,
        decisions=decisions(inputs.analysis, plan, measured),
        changes=change_reports(plan),
        plans=plan_points(inputs.analysis.cost, looked_at, plan),
        frontier=[
            FrontierPoint(relus=point.relus, macs=point.macs, expected=point.damage)
            for point in plan_points(inputs.analysis.cost, frontier, plan)
        ],
        original_nodes=node_reports(inputs.analysis, plan.candidates),
        optimized_nodes=[] if after is None else node_reports(after),
        fidelity=fidelity,
        verdict=_verdict(comparison, inputs.data, error, [*_remarks(inputs.analysis), *reasons]),
        timings=dict(timings),
        versions=versions(),
        config=inputs.config.model_dump(mode="json", by_alias=True, exclude_none=True),
        seed=inputs.config.seed,
        **(class_details(comparison, inputs.data.report) if comparison is not None and validated else {}),
    )


def _remarks(analysis: Analysis) -> list[str]:
    """Why a network as a whole gives little to do."""
    said = [] if analysis.sites else ["the model has no ReLU, so there was none to remove"]
    if analysis.cost.unknown:
        said.append(f"{len(analysis.cost.unknown)} nodes have shapes that are not known, and count as zero")
    if names := training_nodes(analysis.network):
        said.append(
            f"node {names[0]!r} runs in training mode, so that outputs depend on the batch or on chance; export the "
            "model in evaluation mode"
        )
    if analysis.layers.quantized:
        said.append("layers with quantized weights were left alone; optimize the model before quantizing it")
    return said


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
