"""What the JSON reports are put together from."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer

__all__ = [
    "AccuracyReport",
    "Change",
    "ChangeReport",
    "ChangedSample",
    "ClassReport",
    "CostReport",
    "Decision",
    "FidelityReport",
    "FileReport",
    "FrontierPoint",
    "GateReport",
    "MetricReport",
    "NodeReport",
    "Number",
    "OutputFidelity",
    "Part",
    "PlanPoint",
    "SiteReport",
    "Verdict",
]


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None


Number = Annotated[float | None, PlainSerializer(_finite)]
"""A float; what is not finite is written as null, since JSON knows no infinity."""


class Part(BaseModel):
    """A part of a report: it never changes, and has no field that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileReport(Part):
    """A model file: where it is, and the sha256 of its content."""

    path: str
    sha256: str | None


class AccuracyReport(Part):
    """Accuracy on the validation samples, as fractions."""

    top1: float
    top5: float | None
    top1_interval: tuple[float, float]
    samples: int


class CostReport(Part):
    """What a model costs per sample, and how good it is where that is known."""

    relus: int
    relu_nodes: int
    comparisons: int
    macs: int
    params: int
    conv_layers: int
    linear_layers: int
    depth: int
    squares: int = 0
    size_bytes: int | None = None
    accuracy: AccuracyReport | None = None
    latency_ms: Number = None


class Change(Part):
    """What is said of a change, wherever it is listed; null where there is no such thing.

    Attributes:
        action: its name.
        kernel: of the convolution that a merger leaves.
        rank: channels between the two layers that a split leaves.
        kept: how many of its `kept_unit` keep their activation.
        kept_unit: what `kept` counts.
        variant: what else tells the change from others at its place, by name; of actions of other packages.
        exactness: `exact`, `border` or `fitted`.
        damage: that was measured for it alone.
        squares: that it adds.
    """

    action: str
    kernel: list[int] | None = None
    rank: int | None = None
    kept: int | None = None
    kept_unit: Literal["channels", "elements"] | None = None
    variant: dict[str, Any] = {}
    exactness: Literal["exact", "border", "fitted"] | None = None
    damage: Number = None
    squares: int = 0


class SiteName(Part):
    """An activation site: its name, the operator in lower case, and its scalar activations per sample."""

    name: str
    kind: str
    size: int | None


class Decision(Change, SiteName):
    """What was done to one site, and why; the action is `keep` where it stays.

    `least_damage` is the least that was measured for removing this site and no other, alone or within a merger.
    """

    reason: str
    merged_into: str | None = None
    least_damage: Number = None


class ChangeReport(Change):
    """One change of the plan; a site's decision says which one removed it, and some changes remove no site.

    `what` says it in a sentence, `short` in a few words where the place is seen, and `title` in a table of plans.
    """

    key: str
    sites: list[str]
    source: str
    output: str
    relus_saved: int
    macs_saved: int
    what: str
    short: str = ""
    title: str = ""


class NodeReport(Part):
    """A node of a network as it is drawn: a linear layer, a site, a join or a pooling, an input or an output.

    `inputs` are positions in the list, `shape` leaves out the batch, and `change` is the key of what the plan does to
    the node.
    """

    name: str
    op: str
    output: str
    inputs: list[int]
    shape: list[int | None] | None = None
    kernel: list[int] | None = None
    macs: int | None = None
    relus: int | None = None
    change: str | None = None


class PlanPoint(Part):
    """A plan that was looked at: what it keeps, its measured damage, and the sum of its parts' damages."""

    relus: int
    macs: int
    damage: Number
    predicted: Number
    chosen: bool


class FrontierPoint(Part):
    """The least damage that is to be expected at a ReLU count, from all that was measured."""

    relus: int
    macs: int
    expected: Number


class OutputFidelity(Part):
    """How close one output is to the original's.

    Attributes:
        name: of the output.
        shape: of one sample; null for an axis that varies.
        relative_error: RMS of the difference over RMS of the original's; null where it is infinite, as
            an output is not finite, and, like the next three, for outputs that are no floats.
        cosine: mean over the samples of the cosine between the outputs.
        psnr_db: peak signal-to-noise ratio, the peak being the range of the original's output over all samples; null
            where nothing differs (`max_error` is 0), where the original's output is constant, or not finite.
        max_error: the largest absolute difference.
        worst_sample: position in the data source of the sample that differs most; null where none differs.
        worst_error: its relative error; for outputs that are no floats its share of unequal elements.
        equal: share of equal elements, for integers, booleans and text; null for floats.
        not_finite: samples at which the optimized model gives NaN, or infinities that the original does not give.
    """

    name: str
    shape: list[int | None]
    relative_error: Number = None
    cosine: Number = None
    psnr_db: Number = None
    max_error: Number = None
    worst_sample: int | None = None
    worst_error: Number = None
    equal: float | None = None
    not_finite: int = 0


class FidelityReport(Part):
    """How close the outputs are to the original's on samples that were not used for fitting or choosing."""

    samples: int
    source: str
    agreement: float | None
    kl: Number
    relative_error: dict[str, Number]
    composition_error: Number = None
    outputs: list[OutputFidelity] = []


class ClassReport(Part):
    """One class in numbers; only classes that have samples are listed.

    With labels the samples are those with that label. Without labels they are those that the original gives that
    class, and the two counts of correct answers are null.
    """

    label: int
    samples: int
    agree: int
    original_correct: int | None = None
    optimized_correct: int | None = None


class ChangedSample(Part):
    """A sample to which the optimized model gives another class than the original.

    Attributes:
        index: its position in the data source, counted from 0.
        name: its file, relative to the folder of images; null for other sources.
        label: its class, where that is known.
        original: the original's class; null where its scores are no numbers.
        optimized: the optimized model's, likewise.
        original_score: the probability that the original gives to its class.
        optimized_score: the probability that the optimized model gives to its own.
    """

    index: int
    name: str | None
    label: int | None
    original: int | None
    optimized: int | None
    original_score: float | None
    optimized_score: float | None


class Verdict(Part):
    """How it ended: `met`, `accuracy` (budget broken), or `target` (out of reach); reasons in words."""

    status: Literal["met", "accuracy", "target"]
    exit_code: int
    validated: bool
    accuracy_lost: Number = None
    accuracy_lost_interval: tuple[float, float] | None = None
    mcnemar_p: float | None = None
    reasons: list[str]


class SiteReport(SiteName):
    """One activation site, as `analyze` and `sensitivity` list it; `best_merger` is the key of the least damage."""

    depth: int | None
    removable: bool
    fusable: bool
    reason: str | None
    sensitivity: Number = None
    damages: dict[str, Number] | None = None
    best_merger: str | None = None


class GateReport(Part):
    """A gate, checked: `value` is what was found, `limit` what is allowed; `default` where the user gave none."""

    name: Literal["max-drop", "min-agreement", "max-error"]
    limit: float
    value: Number
    met: bool
    default: bool


class MetricReport(Part):
    """The mean over the samples of a metric of the user's own; `difference` is optimized - original.

    The interval of the difference, 95 %, is known where the metric gives one number a sample.
    """

    name: str
    original: Number
    optimized: Number
    difference: Number
    difference_interval: tuple[float, float] | None
    samples: int
