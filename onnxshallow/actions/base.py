"""What an action is: one way to change a network at one place.

Whoever adds a way to shrink a network writes one file with a class that follows `Action`, and names it in
`onnxshallow.actions`. Sweep, planner and report know no action by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from onnxshallow.analysis import Analysis
from onnxshallow.analysis.partial import Partial
from onnxshallow.fitting.moments import SiteStatistics
from onnxshallow.model.editor import GraphEditor

__all__ = ["Action", "Candidate", "Exactness", "FindOptions", "Found", "Granularity", "Rewrite", "Statistics"]

Exactness = Literal["exact", "border", "fitted"]
"""`exact`: composed, right everywhere; `border`: composed, wrong at the border; `fitted`: to activations."""

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
        every_size: list also candidates that are not worth trying, for plans written by hand.
        granularity: `layer`, or of what elements of an activation some may be kept and others not.
        polynomials: whether activations may become parabolas.
        statistics: what is known of the sites, once samples have been seen.
    """

    kernel: str = "auto"
    memory: int = 2 << 30
    deeper: bool = False
    every_size: bool = False
    granularity: Granularity = "layer"
    polynomials: bool = False
    statistics: Statistics | None = None


@dataclass(frozen=True)
class Candidate:
    """An action at a place.

    Attributes:
        action: the action's name.
        sites: names of the sites that it removes.
        source: the tensor that the change begins at.
        output: the tensor that it ends at; source and output say the place, whatever was changed before.
        kernel: spatial kernel shape of the new convolution, where there is one.
        exactness: `exact`, `border` or `fitted`.
        relus: scalar activations per sample that it saves.
        macs: multiply-adds per sample that it saves; negative where it costs some.
        depth: linear layers that it takes off the longest path through it; negative where it adds some.
        nodes: the graph nodes that it takes the place of; candidates that share one exclude each other.
        rank: channels between two convolutions that take the place of one.
        kept: channels, or elements of a sample, of the site that keep their activation; None where that is not asked.
        pixels: whether elements are kept, and not whole channels.
        squares: squares per sample that it adds.
    """

    action: str
    sites: tuple[str, ...]
    source: str
    output: str
    kernel: tuple[int, ...] | None = None
    exactness: Exactness = "fitted"
    relus: int = 0
    macs: int = 0
    depth: int = 0
    nodes: frozenset[int] = field(default=frozenset(), repr=False)
    rank: int | None = None
    kept: int | None = None
    pixels: bool = False
    squares: int = 0

    @property
    def removed(self) -> int:
        """How many sites go altogether and leave nothing nonlinear."""
        return 0 if self.kept or self.squares else len(self.sites)

    @property
    def place(self) -> str:
        """What candidates that differ only in their kernel size, rank, exactness or what they keep have in common."""
        return f"{self.action}:{self.source}->{self.output}"

    @property
    def key(self) -> str:
        """What names the candidate in plans, caches and reports."""
        kernel = "" if self.kernel is None else ":" + "x".join(str(size) for size in self.kernel)
        rank = "" if self.rank is None else f":rank{self.rank}"
        kept = "" if self.kept is None else f":kept{self.kept}{'pixels' * self.pixels}"
        exact = "" if self.exactness == "fitted" else f":{self.exactness}"
        return f"{self.action}{kernel}{rank}{kept}{exact}:{self.source}->{self.output}"


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
    """

    fit: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    partials: tuple[Partial, ...] = ()


class Action(Protocol):
    """One way to change a network."""

    @property
    def name(self) -> str:
        """Name in plans and reports, a verb."""

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Where the action may apply, and why it may not elsewhere."""

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Candidate, statistics: Statistics) -> Rewrite:
        """Edit the graph.

        Args:
            editor: the graph under edit, of the model that `analysis` describes.
            analysis: of the model as it is now, earlier actions included.
            candidate: what to do.
            statistics: what the original's sites do.

        Raises:
            NotLinearError: the place is not there any more.
        """
