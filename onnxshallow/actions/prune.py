"""Leave out channels that the others can make up for: fewer multiply-adds, weights and ReLUs, and no layer more.

    Layer, C channels -> act -> ... -> Layer      becomes      Layer, r channels -> act -> ... -> Layer, fitted anew

All that makes or reads channels of one order (`onnxshallow.analysis.streams`) loses the same ones: within a block
these are two layers, in a residual stream all of a stage. Which go, an order says that second-order statistics of
what the readers read give (`onnxshallow.fitting.elimination`). What `apply` writes are zeros in their place, so that
tensors can be compared with the original's while layers are fitted; `onnxshallow.rewriting.lowering.lower` leaves
them out in the end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnxshallow.actions.base import Action, Candidate, FindOptions, Found, Kind, Rewrite, Statistics, Thinned
from onnxshallow.actions.emission import write_layer
from onnxshallow.analysis import Analysis, Layer, NotLinearError, Site
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.analysis.narrowing import FEWEST, Narrowable, find_narrowable
from onnxshallow.fitting.regression import bytes_needed
from onnxshallow.model.editor import GraphEditor

__all__ = ["Narrow", "Prune"]

# Counts of channels come in eighths of all, rounded to multiples of these: engines work on blocks of 16 or 8.
_EIGHTHS = range(1, 8)
_BLOCKS = (16, 8, 4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Narrow(Candidate):
    """A stream of which some channels stay.

    Attributes:
        kept: how many.
        width: how many there were.
    """

    kind: ClassVar[Kind] = "partial"

    kept: int
    width: int

    @property
    def what(self) -> str:
        """How many channels stay."""
        return f"keeps {self.kept} of {self.width} channels, by which the layers that read them were fitted"

    @property
    def short(self) -> str:
        """How many channels stay."""
        return f"{self.kept} of {self.width} channels kept"

    @property
    def title(self) -> str:
        """The action, and how many channels stay."""
        return f"{self.action}, keeps {self.kept}"

    @property
    def variant(self) -> dict[str, Any]:
        """How many channels stay."""
        return {"kept": self.kept}

    @property
    def reported(self) -> dict[str, Any]:
        """How many channels stay."""
        return {"kept": self.kept, "kept_unit": "channels"}

    @property
    def capacity(self) -> float:
        """The fewer channels go, the larger."""
        return 1.0 / (self.width - self.kept)

    def power(self, measured: Candidate) -> float:
        """Damage falls fast with the channels that go, and grows slowly."""
        return 2.0 if self.capacity > measured.capacity else 1.0

    @property
    def whole(self) -> bool:
        """Its activations stay."""
        return False

    @property
    def by_order(self) -> bool:
        """It goes by an order of channels."""
        return True


class Prune(Action[Narrow]):
    """Leaves out channels of streams."""

    name = "prune"
    candidate_class = Narrow

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every stream with a handful of numbers of channels that stay; none unless fewer channels are wanted."""
        if not options.narrower:
            return Found((), {})
        narrowable, reasons = find_narrowable(analysis)
        refusals = dict(reasons)
        candidates: list[Narrow] = []
        for each in narrowable:
            heavy = [layer for layer in each.readers if _bytes(layer) > options.memory]
            reason = None
            if heavy:
                reason = f"a fit of {heavy[0].name!r} takes more memory than --memory allows"
            elif options.statistics is not None and _order(each.sites, options.statistics) is None:
                reason = "what reads its channels was not looked at, or reads numbers that are not finite"
            if reason is not None:
                refusals.update((site.name, reason) for site in each.sites)
            else:
                candidates += self._candidates(analysis, each, options)
        return Found(tuple(candidates), refusals)

    def _candidates(self, analysis: Analysis, place: Narrowable, options: FindOptions) -> Iterator[Narrow]:
        width = place.stream.channels
        for kept in range(FEWEST, width) if options.every_size else _levels(width):
            part = (width - kept) / width
            yield Narrow(
                action=self.name,
                sites=tuple(site.name for site in place.sites),
                source=place.source,
                output=place.output,
                relus=sum(round((site.size or 0) * part) for site in place.sites),
                macs=sum(round(layer.macs * layer.part) for layer in _thinned(analysis, place, part)),
                nodes=frozenset(site.node for site in place.sites),
                thinned=_thinned(analysis, place, part),
                kept=kept,
                width=width,
            )

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Narrow, statistics: Statistics) -> Rewrite:
        """Let the channels that are easiest to do without be zero."""
        place = next((each for each in find_narrowable(analysis)[0] if each.output == candidate.output), None)
        if place is None:
            raise NotLinearError(f"no stream of channels begins at tensor {candidate.output!r}")
        order = _order(place.sites, statistics)
        if order is None:
            raise NotLinearError(f"the channels of {candidate.sites[0]!r} were not measured")
        gone = np.zeros(place.stream.channels, dtype=np.bool_)
        gone[order[: len(order) - candidate.kept]] = True
        dead = {name: _spread(analysis, name, gone) for name in place.stream.tensors}
        for layer in (*place.makers, *place.inner):
            convolution, rows = analysis.layers.convolution(layer), dead[layer.output]
            weight = np.where(rows.reshape(-1, *(1,) * (convolution.weight.ndim - 1)), 0.0, convolution.weight)
            silent = replace(convolution, weight=weight, bias=np.where(rows, 0.0, convolution.bias))
            write_layer(editor, analysis.network, analysis.layers, layer, silent)
        return Rewrite(fit=tuple(layer.output for layer in place.readers), dead=dead)


def _order(sites: Sequence[Site], statistics: Statistics) -> NDArray[np.int64] | None:
    """The channels of a stream that these sites are in, those that are easiest to do without first."""
    found = (statistics.get(site.name) for site in sites)
    return next((each.order for each in found if each is not None and each.order is not None), None)


def _levels(width: int) -> list[int]:
    """How many of so many channels may stay."""
    block = next(size for size in _BLOCKS if size <= max(width / 8, 1))
    return sorted(
        {kept for eighth in _EIGHTHS if FEWEST <= (kept := round(width * eighth / 8 / block) * block) < width}
    )


def _bytes(layer: Layer) -> int:
    return bytes_needed(prod(layer.weight_shape[1:]), layer.weight_shape[0], 1)


def _thinned(analysis: Analysis, place: Narrowable, part: float) -> tuple[Thinned, ...]:
    """The layers that lose something when a part of the channels goes."""
    ends = dict.fromkeys((*place.makers, *place.inner, *place.readers))
    found = []
    for layer in ends:
        left = (1 - part) ** ((layer in place.makers or layer in place.inner) + (layer in place.readers))
        macs, weights = layer_macs(analysis.network, analysis.network.nodes[layer.main]), prod(layer.weight_shape)
        size = weights * analysis.layers.dtype(layer).itemsize
        found.append(
            Thinned(frozenset(layer.nodes), 1 - left, 0 if layer.kind == "affine" else macs or 0, weights, size)
        )
    return tuple(found)


def _spread(analysis: Analysis, tensor: str, gone: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which elements of axis 1 of a tensor go; a flattened one has a run of them for each channel."""
    size = (analysis.network.shape(tensor) or (0, len(gone)))[1] or len(gone)
    return np.repeat(gone, size // len(gone))
