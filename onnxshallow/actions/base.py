"""What an action is: one way to change a network at one place.

Whoever adds a way to shrink a network writes one file: a class derived from `Action`, and one derived from
`Candidate` for what such a change leaves and what is said of it. `onnxshallow.actions.registry` names it. Search,
rewriting and report know no action by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Analysis
from onnxshallow.analysis.partial import Partial
from onnxshallow.fitting.moments import SiteStatistics
from onnxshallow.model.editor import GraphEditor

__all__ = [
    "Action",
    "Candidate",
    "Exactness",
    "FindOptions",
    "Found",
    "Granularity",
    "Kind",
    "Rewrite",
    "Statistics",
    "Thinned",
]

Exactness = Literal["exact", "border", "fitted"]
"""`exact`: composed, right everywhere; `border`: composed, wrong at the border; `fitted`: to activations."""

Kind = Literal["removal", "merger", "split", "partial"]
"""What a change does: activations go; layers become one, the activations between them go; a layer becomes several; a
part of an activation stays."""

Granularity = Literal["layer", "channel", "pixel"]
"""What of an activation goes or stays as one: all of it, a channel, or a single element."""

Statistics = Mapping[str, SiteStatistics]
"""What every removable site does to its channels, by the site's name."""


@dataclass(frozen=True)
class FindOptions:
    """What limits the search for candidates.

    Attributes:
        kernel: `auto`, `exact`, or the largest kernel size of a fitted convolution as a string.
        memory: bytes that a candidate's fit may take.
        deeper: whether candidates that add layers, to save multiply-adds, are wanted.
        narrower: whether candidates that leave channels out are wanted.
        grouped: whether layers may become ones of groups, which engines run slowly.
        every_size: list also candidates that are not worth trying, for plans written by hand.
        granularity: `layer`, or of what elements of an activation some may be kept and others not.
        polynomials: whether activations may become parabolas.
        poolings: whether max poolings may become average poolings.
        statistics: what is known of the sites, once samples have been seen.
    """

    kernel: str = "auto"
    memory: int = 2 << 30
    deeper: bool = False
    narrower: bool = False
    grouped: bool = True
    every_size: bool = False
    granularity: Granularity = "layer"
    polynomials: bool = False
    poolings: bool = False
    statistics: Statistics | None = None


@dataclass(frozen=True)
class Thinned:
    """A layer of whose work a change takes a part, while others may take a part of what is left.

    Attributes:
        nodes: the graph nodes that the layer stands for.
        part: which part goes.
        macs: multiply-adds of the whole layer per sample.
        params: its weights without its bias.
        size_bytes: what these take in the file.
    """

    nodes: frozenset[int]
    part: float
    macs: int
    params: int
    size_bytes: int


@dataclass(frozen=True)
class Candidate:
    """An action at a place.

    The fields that a derived class adds are its *variant*: what tells candidates of one place apart. They hold what
    JSON can (a tuple for a list), and are saved in plans and reports under their names.

    Attributes:
        kind: what the change does.
        action: the action's name.
        sites: names of the sites that it removes.
        source: the tensor that the change begins at.
        output: the tensor that it ends at; source and output say the place, whatever was changed before.
        exactness: `exact`, `border` or `fitted`.
        relus: scalar activations per sample that it saves.
        macs: multiply-adds per sample that it saves; negative where it costs some.
        depth: linear layers that it takes off the longest path through it; negative where it adds some.
        nodes: the graph nodes that it takes the place of; candidates that share one exclude each other.
        squares: squares per sample that it adds.
        time: how many seconds it saves on this machine, where these are limited.
        price: how much it saves of what is paid for private inference, where that is limited.
        error: of the weights that it leaves, relative to those that were there, where it is known without samples.
        params: parameters that it saves, where these or the size of the file are limited.
        size_bytes: by how much the file gets smaller, likewise.
        thinned: layers at its ends that lose a part. Candidates that replace one of their nodes are excluded; others
            that thin the same layer are not, and `twice` says what both save.
    """

    kind: ClassVar[Kind] = "removal"
    action: str
    sites: tuple[str, ...]
    source: str
    output: str
    exactness: Exactness = "fitted"
    relus: int = 0
    macs: int = 0
    depth: int = 0
    nodes: frozenset[int] = field(default=frozenset(), repr=False)
    squares: int = 0
    time: float = field(default=0.0, compare=False)
    price: float = field(default=0.0, compare=False)
    error: float | None = field(default=None, compare=False)
    params: int = field(default=0, compare=False)
    size_bytes: int = field(default=0, compare=False)
    thinned: tuple[Thinned, ...] = field(default=(), compare=False, repr=False)

    @property
    def layers(self) -> int | None:
        """Linear layers that it leaves in place of those among its nodes; None where these stay as they are."""
        return None

    @property
    def ends(self) -> frozenset[int]:
        """The nodes of the layers that it thins."""
        return frozenset().union(*(layer.nodes for layer in self.thinned))

    def excludes(self, other: "Candidate") -> bool:
        """Whether the two cannot both be carried out, as both replace the same nodes, or one what the other thins."""
        return not (self.nodes.isdisjoint(other.nodes | other.ends) and self.ends.isdisjoint(other.nodes))

    def twice(self, other: "Candidate", name: str) -> int:
        """What this and another, at another place, both save, and so save once: `macs`, `params` or another field."""
        if name not in ("macs", "params", "size_bytes"):
            return 0
        by_nodes = {layer.nodes: layer for layer in other.thinned}
        pairs = [(layer, by_nodes[layer.nodes]) for layer in self.thinned if layer.nodes in by_nodes]
        return sum(round(getattr(one, name) * one.part * two.part) for one, two in pairs)

    @property
    def what(self) -> str:
        """What becomes of the place, in words that go on from its name; for reports."""
        return f"changed by {self.action}"

    @property
    def short(self) -> str:
        """What the change makes, in a few words, where its place is seen."""
        return self.what

    @property
    def title(self) -> str:
        """The action, and of its variant what tables have no column for."""
        return self.action

    @property
    def variant(self) -> dict[str, Any]:
        """What tells the candidate from others of its place, as JSON values by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)[len(fields(Candidate)) :]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def reported(self) -> dict[str, Any]:
        """What reports say of the variant, as JSON values by name."""
        return self.variant

    @property
    def label(self) -> str:
        """The variant as a part of the key."""
        shown = {n: "x".join(map(str, v)) if isinstance(v, list) else v for n, v in self.variant.items()}
        return "".join(f":{name}{value}" for name, value in shown.items())

    @property
    def capacity(self) -> float:
        """What puts the candidates of one place in order, above zero: of more of it less damage is expected."""
        return 1.0

    def power(self, measured: "Candidate") -> float:
        """The p of the damage to be expected: that of `measured` times (its capacity / this one's)^p."""
        return 1.0

    @property
    def whole(self) -> bool:
        """Whether nothing of its sites stays."""
        return True

    @property
    def by_element(self) -> bool:
        """Whether it tells the elements of a channel apart, so that statistics of each are needed."""
        return False

    @property
    def by_order(self) -> bool:
        """Whether it goes by an order of channels, so that statistics of these are needed."""
        return False

    @property
    def removed(self) -> int:
        """How many sites go altogether and leave nothing nonlinear."""
        return len(self.sites) if self.whole and not self.squares else 0

    @property
    def place(self) -> str:
        """What candidates that differ only in their variant or exactness have in common."""
        return f"{self.action}:{self.source}->{self.output}"

    @property
    def key(self) -> str:
        """What names the candidate in plans, caches and reports."""
        exact = "" if self.exactness == "fitted" else f":{self.exactness}"
        return f"{self.action}{self.label}{exact}:{self.source}->{self.output}"


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True)
class Found:
    """What an action found in a network.

    Attributes:
        candidates: where it may apply.
        refusals: for every site where it may not, the reason, by the site's name.
    """

    candidates: tuple[Candidate, ...]
    refusals: Mapping[str, str]


@dataclass(frozen=True)
class Rewrite:
    """What an application changed.

    Attributes:
        fit: outputs of layers whose weights are to be fitted.
        frozen: outputs of layers that must stay as they were written.
        partials: activations of which a part is kept.
        dead: by tensor, which channels hold zeros from now on, (C,), and are left out in the end.
    """

    fit: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    partials: tuple[Partial, ...] = ()
    dead: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


class Action(ABC, Generic[C]):
    """One way to change a network, whose candidates are of class `C`.

    Attributes:
        name: of the action in plans and reports, a verb.
        candidate_class: what its candidates are.
        apart: whether its candidates, in graph order, get along with an analysis of the model as it was before the
            first of them: each edits one activation and what only this reads, and keeps the names of the tensors
            there; besides that it looks at what comes after.
    """

    name: str
    candidate_class: type[C]
    apart: ClassVar[bool] = False

    @abstractmethod
    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Where the action may apply, and why it may not elsewhere."""

    @abstractmethod
    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: C, statistics: Statistics) -> Rewrite:
        """Edit the graph.

        Args:
            editor: the graph under edit, of the model that `analysis` describes.
            analysis: of the model as it is now, earlier candidates included, unless they are `apart`.
            candidate: what to do.
            statistics: what the original's sites do.

        Raises:
            NotLinearError: the place is not there any more.
        """
