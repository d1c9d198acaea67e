"""The JSON report. Its fields are part of the contract with scripts; additions are allowed, changes are not."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer

__all__ = [
    "SCHEMA_VERSION",
    "AccuracyReport",
    "AnalysisReport",
    "BenchReport",
    "CacheReport",
    "CostReport",
    "Decision",
    "DoctorReport",
    "FidelityReport",
    "FileReport",
    "PackageReport",
    "ParetoPoint",
    "ParetoReport",
    "PlanReport",
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


class BenchReport(_Part):
    """The result of `bench`."""

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


class PackageReport(_Part):
    """A package that is required: the version that is there, and the least that is needed."""

    name: str
    version: str | None
    least: str | None
    ok: bool


class CacheReport(_Part):
    """The cache of measured sensitivities."""

    path: str
    files: int
    size_bytes: int
    writable: bool


class DoctorReport(_Part):
    """The result of `doctor`: `extras` lists for each what it lacks, `problems` and `hints` say what to do."""

    schema_version: int = SCHEMA_VERSION
    version: str
    python: str
    platform: str
    cores: int
    memory_bytes: int | None
    packages: list[PackageReport]
    extras: dict[str, list[str]]
    providers: list[str]
    runs: bool
    cache: CacheReport
    problems: list[str]
    hints: list[str]
    exit_code: int


class PlanReport(_Part):
    """The result of `optimize --dry-run`: what a plan would save, by its nodes, and the damages measured one by one.

    `plan` is what `apply` reads; `damage` is the sum over its entries.
    """

    schema_version: int = SCHEMA_VERSION
    model: FileReport
    original: CostReport
    predicted: CostReport
    damage: Number
    decisions: list[Decision]
    plan: dict[str, Any]
    measure: str
    samples: int
    source: str
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
