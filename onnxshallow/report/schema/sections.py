"""What the JSON reports are put together from."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from onnxshallow.analysis import Cost
from onnxshallow.private.estimate import PrivateEstimate
from onnxshallow.report.schema.part import Part
from onnxshallow.validation.compare import Accuracy
from onnxshallow.validation.fixed_point import FixedPoint
from onnxshallow.validation.judgement import Finding, Status
from onnxshallow.validation.numbers import Number, Real
from onnxshallow.validation.parting import TensorDifference

__all__ = [
    "Change",
    "ChangeReport",
    "CostReport",
    "Decision",
    "FileReport",
    "FixedPointReport",
    "ForecastReport",
    "FrontierPoint",
    "NodeReport",
    "PlanPoint",
    "PrivateReport",
    "ProvenanceReport",
    "SiteReport",
    "TrainingLook",
    "TrainingReport",
    "Verdict",
]


class FileReport(Part):
    """A model file: where it is, and the sha256 of its content."""

    path: str
    sha256: str | None


class ProvenanceReport(Part):
    """What a model says of itself that onnxshallow wrote; nobody vouches for it.

    `plan_sha256` tells plans apart, `nodes` says what became of the original's nodes, and `training` for how long
    weights learned from the original.
    """

    version: str
    input_sha256: str
    plan_sha256: str
    nodes: dict[str, str] = Field(default_factory=dict)
    training: str | None = None


@dataclass(frozen=True, kw_only=True)
class CostReport(Cost):
    """What a model costs per sample, and how good it is where that is known.

    Attributes:
        size_bytes: of the model's file.
        accuracy: on the samples of the report, with labels.
        latency_ms: median milliseconds of a run.
        price: what private inference costs, an estimate, where that was limited.
        price_of: of what, in words, and in which unit.
    """

    size_bytes: int | None = None  # type: ignore[assignment]  # plans told it not, and are still read
    accuracy: Accuracy | None = None
    latency_ms: Number = None
    price: Number = None
    price_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class PrivateReport(PrivateEstimate):
    """An estimate of private inference, among those of several models.

    Attributes:
        model: a place in `models`.
        kind: what the figures are.
        seconds_ratio: the first model's seconds by this one's.
    """

    model: int
    kind: Literal["estimate"] = "estimate"
    seconds_ratio: Number = None


@dataclass(frozen=True, kw_only=True)
class FixedPointReport(FixedPoint):
    """One of several models in fixed point, on made-up samples, against itself in floating point.

    Attributes:
        model: a place in `models`.
        finding: why it must not be used so, in a sentence; null where nothing speaks against it.
    """

    model: int
    finding: str | None = None


class Change(Part):
    """What is said of a change, wherever it is listed; null where there is no such thing.

    Attributes:
        action: its name.
        kernel: of the convolution that a merger leaves.
        rank: channels between the two layers that a split leaves, of each group.
        groups: of the first of the two.
        taps: which of the kernel's taps the first of the two has: all, those of the rows, or none but one; or
            `apart`, where the layer became three, of which the one in the middle has them.
        weight_error: what the weights of a split lack of the layer's, relative to these, in the operator norm.
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
    groups: int | None = None
    taps: Literal["all", "rows", "none", "apart"] | None = None
    weight_error: Number = None
    kept: int | None = None
    kept_unit: Literal["channels", "elements"] | None = None
    variant: dict[str, Any] = Field(default_factory=dict)
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


class Verdict(Part):
    """Whether the model may be shipped, and why.

    Attributes:
        status: `met`; `accuracy` (a gate is broken, or it is unstable, or the data prove nothing); `target` (out of
            reach, or not as fast as asked for); `forced` (refused, and wanted all the same).
        exit_code: that the command ends with.
        validated: whether accuracy was looked at on real samples.
        accuracy_lost: top-1, as a fraction; null without labels.
        accuracy_lost_interval: its 95 % interval.
        mcnemar_p: of the test whether the accuracies differ.
        reasons: all that is to be said, in words: the findings, what refuses first, then remarks.
        line: the one line that says all that matters.
        findings: what is known for or against the model.
        overridden: what refuses it, where that was overridden by `--force`.
    """

    status: Status
    exit_code: int
    validated: bool
    accuracy_lost: Number = None
    accuracy_lost_interval: tuple[float, float] | None = None
    mcnemar_p: float | None = None
    reasons: list[str]
    line: str = ""
    findings: tuple[Finding, ...] = ()
    overridden: list[str] = Field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """The reasons that are no findings."""
        return self.reasons[len(self.findings) :]


class ForecastReport(Part):
    """What a run was to take, told before it began, and what it took.

    Attributes:
        seconds: that were foreseen, but for loading model and data, and for training. A second search, with channel
            masks, is among them where it came to that.
        stages: likewise by stage, under the names of `timings`.
        memory_bytes: the most that the process was to hold.
        actual_seconds: that it took.
        actual_memory_bytes: the most that the process has held since it began; null where the system does not tell.
    """

    seconds: float
    stages: dict[str, float]
    memory_bytes: int
    actual_seconds: float
    actual_memory_bytes: int | None = None


class SiteReport(SiteName):
    """One activation site, as `analyze` and `sensitivity` list it; `best_merger` is the key of the least damage."""

    depth: int | None
    removable: bool
    fusable: bool
    reason: str | None
    sensitivity: Number = None
    damages: dict[str, Number] | None = None
    best_merger: str | None = None


class PartingReport(Part):
    """Where two networks part: how far each tensor is off that both make, and the first beyond the tolerance."""

    samples: int
    tolerance: Real
    tensors: tuple[TensorDifference, ...]
    first: TensorDifference | None

    @property
    def in_words(self) -> str:
        """The answer, in a sentence."""
        if not self.tensors:
            return "The networks have no tensor of one name and shape inside, so it cannot be said where they part."
        if self.first is None:
            return f"None of {len(self.tensors)} tensors that both make is off by more than {self.tolerance:g}."
        before = self.tensors.index(self.first)
        others = f"{before} before it {'is' if before == 1 else 'are'} not" if before else "it is the first of all"
        return (
            f"They part at {self.first.name!r}, which {self.first.op} node {self.first.node!r} makes: it is off by "
            f"{self.first.relative_error:.3g} of its size, more than {self.tolerance:g}; {others}."
        )


class TrainingLook(Part):
    """What the student was worth after some steps, on held-out samples.

    `loss` is the mean of the steps since the look before. `error` is how far the outputs are from the original's, by
    the size of these; the least is kept. `damage` is the divergence from the original in nats;
    without classes it is what the outputs lost. `growth` is that of activations, where something is squared.
    """

    step: int
    loss: Number = None
    damage: Number = None
    agreement: Number = None
    growth: Number = None
    usable: bool
    error: Number = None


class TrainingReport(Part):
    """How weights learned from the original.

    `start` is the optimized model that was given. `steps` is how long the course is, `done` how much of it was done,
    and `kept` the step whose weights are kept; 0 is the start. `--finetune` with as many steps gives the same again.
    `lacks` names operators that are not known to the training; their weights and all before them were frozen.
    `labels` is whether labels were learned from, beside what the original says. `share` is how far the weights moved
    towards those of that step: less than 1 where all the way is not stable.
    """

    start: FileReport | None
    asked: str
    steps: int
    done: int
    kept: int
    interrupted: bool
    samples: int
    held_out: int
    batch: int
    augment: str
    arithmetic: str
    threads: int
    trained: int
    lacks: list[str]
    looks: list[TrainingLook]
    seconds: float
    labels: bool = False
    share: float = 1.0
