"""The JSON report. Its fields are part of the contract with scripts; additions are allowed, changes are not."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer

__all__ = [
    "SCHEMA_VERSION",
    "AccuracyReport",
    "AnalysisReport",
    "BenchMeasurement",
    "BenchModel",
    "BenchReport",
    "BenchSetting",
    "CostReport",
    "Decision",
    "FidelityReport",
    "FileReport",
    "ParetoPoint",
    "ParetoReport",
    "PrivateReport",
    "Report",
    "SensitivityReport",
    "SiteReport",
    "ValidationReport",
    "Verdict",
]

SCHEMA_VERSION = 1


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


Number = Annotated[float | None, PlainSerializer(_finite)]
"""A float; what is not finite is written as null, since JSON knows no infinity."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileReport(_Part):
    """A model file: where it is, and the sha256 of its content."""

    path: str
    sha256: str | None


class AccuracyReport(_Part):
    """Accuracy on the validation samples, as fractions."""

    top1: float
    top5: float | None
    top1_interval: tuple[float, float]
    samples: int


class CostReport(_Part):
    """What a model costs per sample, and how good it is where that is known."""

    relus: int
    relu_nodes: int
    comparisons: int
    macs: int
    params: int
    conv_layers: int
    linear_layers: int
    depth: int
    size_bytes: int | None = None
    accuracy: AccuracyReport | None = None
    latency_ms: Number = None


class Decision(_Part):
    """What was done to one site, and why."""

    name: str
    kind: str
    size: int | None
    action: str
    kernel: list[int] | None = None
    reason: str
    damage: Number = None
    exactness: Literal["exact", "border", "fitted"] | None = None
    merged_into: str | None = None


class FidelityReport(_Part):
    """How close the outputs are to the original's on samples that were not used for fitting or choosing."""

    samples: int
    source: str
    agreement: float | None
    kl: Number
    relative_error: dict[str, Number]
    composition_error: Number = None


class Verdict(_Part):
    """How it ended: `met`, `accuracy` (budget broken), or `target` (out of reach); reasons in words."""

    status: Literal["met", "accuracy", "target"]
    exit_code: int
    validated: bool
    accuracy_lost: Number = None
    accuracy_lost_interval: tuple[float, float] | None = None
    mcnemar_p: float | None = None
    reasons: list[str]


class SiteReport(_Part):
    """One activation site, as `analyze` and `sensitivity` list it."""

    name: str
    kind: str
    size: int | None
    depth: int | None
    removable: bool
    fusable: bool
    reason: str | None
    sensitivity: Number = None
    damages: dict[str, Number] | None = None


class AnalysisReport(_Part):
    """The result of `analyze`."""

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    totals: CostReport
    sites: list[SiteReport]
    unknown: list[str]


class SensitivityReport(_Part):
    """The result of `sensitivity`: sites with the damage of each candidate that removes them."""

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    totals: CostReport
    sites: list[SiteReport]
    measure: str
    samples: int
    source: str
    versions: dict[str, str]
    seed: int


class ValidationReport(_Part):
    """The result of `validate`."""

    schema_version: int = SCHEMA_VERSION
    original: FileReport
    optimized: FileReport
    original_accuracy: AccuracyReport | None
    optimized_accuracy: AccuracyReport | None
    fidelity: FidelityReport
    verdict: Verdict


class BenchModel(_Part):
    """A model that was timed; `size_bytes` counts its data files as well."""

    path: str
    sha256: str
    size_bytes: int


class BenchSetting(_Part):
    """Samples a run, and threads; None for all cores."""

    batch_size: int
    threads: int | None


class BenchMeasurement(_Part):
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


class PrivateReport(_Part):
    """An estimate of private inference, for one sample: `onnxshallow.private.estimate.PrivateEstimate` says more.

    `model` is a place in `models`; `seconds_ratio` is the first model's seconds by this one's.
    """

    model: int
    kind: Literal["estimate"] = "estimate"
    protocol: str
    title: str
    rtt: float
    bandwidth: float
    comparisons: int
    comparison_bytes: float
    linear_bytes: float | None
    bytes: float
    offline_bytes: float | None
    messages: int | None
    seconds: float
    offline_seconds: float | None
    seconds_ratio: Number = None
    counted: list[str]
    not_counted: list[str]
    sources: list[str]


class BenchReport(_Part):
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
    models: list[BenchModel] = []
    settings: list[BenchSetting] = []
    measurements: list[BenchMeasurement] = []
    private: list[PrivateReport] = []
    notes: list[str] = []
    seed: int = 0


class ParetoPoint(_Part):
    """What one ReLU target costs; a target out of reach has a `reason` and no figures.

    `plan` is what `apply` reads.
    """

    target_relus: int
    reason: str | None = None
    optimized: CostReport | None = None
    accuracy_lost: Number = None
    accuracy_lost_interval: tuple[float, float] | None = None
    fidelity: FidelityReport | None = None
    damage: Number = None
    decisions: list[Decision] | None = None
    plan: dict[str, Any] | None = None


class ParetoReport(_Part):
    """The result of `pareto`."""

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    original: CostReport
    points: list[ParetoPoint]
    validated: bool
    timings: dict[str, float]
    versions: dict[str, str]
    config: dict[str, Any]
    seed: int


class Report(_Part):
    """The result of `optimize` or `apply`."""

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    output: FileReport | None
    original: CostReport
    optimized: CostReport | None
    decisions: list[Decision]
    fidelity: FidelityReport | None
    verdict: Verdict
    timings: dict[str, float]
    versions: dict[str, str]
    config: dict[str, Any]
    seed: int
