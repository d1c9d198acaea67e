"""The JSON reports. Their fields are part of the contract with scripts; additions are allowed, changes are not.

`providers`, wherever models were run, names onnxruntime's execution providers with their options, and how many nodes
each of them ran: of the model that was given, or of the last of several.
"""

from typing import Any, Literal

from pydantic import Field

from onnxshallow.model.providers import Placed
from onnxshallow.report.schema.doctor import DoctorReport
from onnxshallow.report.schema.engine import EngineReport
from onnxshallow.report.schema.figures import change, compared, count
from onnxshallow.report.schema.part import SCHEMA_VERSION, Part
from onnxshallow.report.schema.sections import (
    ChangeReport,
    CostReport,
    Decision,
    FileReport,
    FixedPointReport,
    ForecastReport,
    FrontierPoint,
    NodeReport,
    PartingReport,
    PlanPoint,
    PrivateReport,
    ProvenanceReport,
    SiteReport,
    TrainingReport,
    Verdict,
)
from onnxshallow.rewriting.lossless import Removed
from onnxshallow.search.prospect import Prospect
from onnxshallow.text import html_table
from onnxshallow.validation.classes import Changed, ClassCount
from onnxshallow.validation.compare import Accuracy, Fidelity
from onnxshallow.validation.fixed_point import FixedPoint
from onnxshallow.validation.gates import Gate
from onnxshallow.validation.growth import Stability
from onnxshallow.validation.kinds import OutputKind
from onnxshallow.validation.numbers import Number
from onnxshallow.validation.speed import Speed
from onnxshallow.validation.user_metric import MetricResult

__all__ = [
    "SCHEMA_VERSION",
    "AnalysisReport",
    "BenchMeasurement",
    "BenchModel",
    "BenchReport",
    "BenchSetting",
    "ChangeReport",
    "CostReport",
    "Decision",
    "DoctorReport",
    "EngineReport",
    "FileReport",
    "FixedPointReport",
    "ForecastReport",
    "FrontierPoint",
    "NodeReport",
    "ParetoPoint",
    "ParetoReport",
    "PlanPoint",
    "PlanReport",
    "PrivateReport",
    "Report",
    "SensitivityReport",
    "SiteReport",
    "TrainingReport",
    "ValidationReport",
    "Verdict",
]


class AnalysisReport(Part):
    """The result of `analyze`; `provenance` is there of a model that onnxshallow wrote.

    `unknown` names what is not counted, as its shape is not known; `other_activations` says in words what is computed
    elementwise besides the sites. `prospects` says what fewer ReLUs would leave, the network as it is first.
    """

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    totals: CostReport
    sites: list[SiteReport]
    unknown: list[str]
    other_activations: list[str] = Field(default_factory=list)
    provenance: ProvenanceReport | None = None
    prospects: list[Prospect] = Field(default_factory=list)


class SensitivityReport(Part):
    """The result of `sensitivity`: sites with the damage of each candidate that removes them.

    `outputs` says what the outputs are read as. `nodes_to_exclude` names the sites and the layers that feed them, the
    most sensitive first, as a quantizer may leave some of them out.
    """

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    totals: CostReport
    sites: list[SiteReport]
    measure: str
    samples: int
    source: str
    versions: dict[str, str]
    seed: int
    outputs: tuple[OutputKind, ...] = ()
    nodes_to_exclude: list[str] = Field(default_factory=list)
    providers: tuple[Placed, ...] = ()


class ValidationReport(Part):
    """The result of `validate`.

    `changed` holds at most 100 of `changed_total` samples, those first of which the original was most sure.
    `labels_of` names the output that labels belong to, where others tell classes too; `unused_labels` says that there
    are labels which fit no output. `stability` is how far activations grow, where the optimized network squares more.
    `parting` tells where they part inside, where that was asked for.
    """

    schema_version: int = SCHEMA_VERSION
    original: FileReport
    optimized: FileReport
    original_accuracy: Accuracy | None
    optimized_accuracy: Accuracy | None
    fidelity: Fidelity
    verdict: Verdict
    classes: tuple[ClassCount, ...] = ()
    changed: tuple[Changed, ...] = ()
    changed_total: int = 0
    labels_of: str | None = None
    unused_labels: bool = False
    gates: list[Gate] = Field(default_factory=list)
    stability: Stability | None = None
    metrics: list[MetricResult] = Field(default_factory=list)
    parting: PartingReport | None = None
    providers: tuple[Placed, ...] = ()


class BenchModel(Part):
    """A model that was timed; `size_bytes` counts its data files as well."""

    path: str
    sha256: str
    size_bytes: int


class BenchSetting(Part):
    """Samples a run, and threads; None for all cores."""

    batch_size: int
    threads: int | None


class BenchMeasurement(Part):
    """One model at one setting.

    `model` is a place in `models`. `speedup` is the first model's time by this one's. `peak_memory_bytes` is how far
    a process grows that loads and runs the model; None where it was not measured.
    """

    model: int
    batch_size: int
    threads: int | None
    runs: int
    median_ms: float
    median_interval: tuple[float, float]
    samples_per_second: float
    speedup: float
    speedup_interval: tuple[float, float]
    peak_memory_bytes: int | None = None


class BenchReport(Part):
    """The result of `bench`. The fields up to `versions` are those of the first setting and the first two models."""

    schema_version: int = SCHEMA_VERSION
    original: FileReport
    optimized: FileReport
    original_ms: float
    optimized_ms: float
    speedup: float
    speedup_interval: tuple[float, float]
    batch_size: int
    runs: int
    threads: int | None
    versions: dict[str, str]
    models: list[BenchModel] = Field(default_factory=list)
    settings: list[BenchSetting] = Field(default_factory=list)
    measurements: list[BenchMeasurement] = Field(default_factory=list)
    private: list[PrivateReport] = Field(default_factory=list)
    engine: list[EngineReport] = Field(default_factory=list)
    fixed_point: list[FixedPointReport] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    seed: int = 0
    providers: tuple[Placed, ...] = ()


class ParetoPoint(Part):
    """What one ReLU target costs; a target out of reach, or whose plan is unstable, has a `reason` and no figures.

    A plan that is refused for anything else has a `reason` and its figures. `plan` is what `apply` reads. Where
    the target is of anything but ReLUs, `target` is the most that there may be, and `target_relus` is what the
    original has.
    """

    target_relus: int
    reason: str | None = None
    optimized: CostReport | None = None
    accuracy_lost: Number = None
    accuracy_lost_interval: tuple[float, float] | None = None
    fidelity: Fidelity | None = None
    damage: Number = None
    decisions: list[Decision] | None = None
    plan: dict[str, Any] | None = None
    speed: Speed | None = None
    stability: Stability | None = None
    target: Number = None

    @property
    def row(self) -> tuple[str, ...]:
        """The target, what is left of ReLUs and MACs, what was lost, and why nothing was made, as text."""
        after, agreement = self.optimized, None if self.fidelity is None else self.fidelity.agreement
        return (
            count(self.target_relus) if self.target is None else f"{self.target:.4g}",
            "-" if after is None else count(after.relus),
            "-" if after is None else count(after.macs),
            "-" if agreement is None else f"{100 * agreement:.2f} %",
            "-" if self.accuracy_lost is None else f"{100 * self.accuracy_lost:.2f}",
            self.reason or "",
        )


class ParetoReport(Part):
    """The result of `pareto`; its verdict is `met` where a point may be used. `by` says what the targets are of.

    `forecast` is what the run was to take, and what it took.
    """

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    original: CostReport
    points: list[ParetoPoint]
    validated: bool
    timings: dict[str, float]
    versions: dict[str, str]
    config: dict[str, Any]
    seed: int
    verdict: Verdict | None = None
    by: Literal["relus", "macs", "params", "size", "private", "bytes", "messages"] = "relus"
    providers: tuple[Placed, ...] = ()
    forecast: ForecastReport | None = None

    def __repr__(self) -> str:
        reached = sum(point.reason is None for point in self.points)
        return f"<ParetoReport: {len(self.points)} targets of {self.by}, {reached} of them met>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """A row for each target, for notebooks."""
        rows = [point.row for point in self.points]
        headers = ["target", "ReLUs", "MACs", "same class", "points lost", ""]
        return html_table(repr(self)[1:-1], headers, rows)


class PlanReport(Part):
    """The result of `optimize --dry-run`: what a plan would save, by its nodes, and the damages measured one by one.

    `plan` is what `apply` reads; `damage` is the sum over its entries; `outputs` says what the outputs are read as.
    """

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    original: CostReport
    predicted: CostReport
    damage: Number
    decisions: list[Decision]
    changes: list[ChangeReport] = Field(default_factory=list)
    plan: dict[str, Any]
    measure: str
    samples: int
    source: str
    validated: bool
    timings: dict[str, float]
    versions: dict[str, str]
    config: dict[str, Any]
    seed: int
    outputs: tuple[OutputKind, ...] = ()
    providers: tuple[Placed, ...] = ()


class Report(Part):
    """The result of `optimize`, `apply` or `finetune`, which decides nothing of sites.

    The fields from `classes` on are as in `ValidationReport`; nothing is said without real data. `speed` is what was
    measured in onnxruntime, as `bench` does. `stability` is how far activations grow, where the optimized network
    squares more. `fixed_point` is what that arithmetic makes of it, where private inference is what it is for.
    `training` tells how weights learned, where they did. `lossless` counts what went as it changes nothing.
    `forecast` is what the run was to take, and what it took. `calibration_samples` are those that were fitted to and
    chosen by, which may be fewer than the option of that name allows.
    """

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    output: FileReport | None
    original: CostReport
    optimized: CostReport | None
    decisions: list[Decision]
    changes: list[ChangeReport] = Field(default_factory=list)
    plans: list[PlanPoint] = Field(default_factory=list)
    frontier: list[FrontierPoint] = Field(default_factory=list)
    original_nodes: list[NodeReport] = Field(default_factory=list)
    optimized_nodes: list[NodeReport] = Field(default_factory=list)
    fidelity: Fidelity | None
    verdict: Verdict
    timings: dict[str, float]
    versions: dict[str, str]
    config: dict[str, Any]
    seed: int
    classes: tuple[ClassCount, ...] = ()
    changed: tuple[Changed, ...] = ()
    changed_total: int = 0
    labels_of: str | None = None
    unused_labels: bool = False
    speed: Speed | None = None
    gates: list[Gate] = Field(default_factory=list)
    stability: Stability | None = None
    fixed_point: FixedPoint | None = None
    training: TrainingReport | None = None
    lossless: Removed | None = None
    providers: tuple[Placed, ...] = ()
    forecast: ForecastReport | None = None
    calibration_samples: int | None = None

    def __repr__(self) -> str:
        parts: list[str] = [self.verdict.status]
        if self.optimized is not None:
            parts.append(change(self.original, self.optimized))
        accuracy = [cost.accuracy for cost in (self.original, self.optimized) if cost is not None]
        if len(accuracy) == 2 and accuracy[0] is not None and accuracy[1] is not None:
            parts.append(f"top-1 {100 * accuracy[0].top1:.2f} -> {100 * accuracy[1].top1:.2f} %")
        elif self.fidelity is not None and self.fidelity.agreement is not None:
            parts.append(f"same class for {100 * self.fidelity.agreement:.2f} %")
        return f"<Report: {', '.join(parts)}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The figures before and after as a table, for notebooks."""
        rows = [] if self.optimized is None else compared(self.original, self.optimized, self.speed)
        return html_table(self.verdict.line, ["", "original", "optimized", "ratio"], rows)
