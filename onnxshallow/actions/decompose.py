"""Split a convolution into two or three with few channels between them: fewer multiply-adds and weights, more layers.

    Conv k x k, C -> N      becomes      Conv k x k, C -> r in g groups, Conv 1x1, r -> N
                                    or   Conv k x 1, C -> r,             Conv 1 x k, r -> N
                                    or   Conv 1x1, C -> r,               Conv k x k, r -> N
                                    or   Conv 1x1, C -> r,  Conv k x k, one kernel a channel,  Conv 1x1, r -> N

The responses of a trained layer lie close to a space of few dimensions. ALDS (arXiv 2107.11442) slices the input
channels into groups, and spreads the ranks over the layers so that the largest relative error is least
(`onnxshallow.search.allocation`); here the integer program spreads them, among everything else. How close each form
comes to the weights is known from their singular values, so for each share of the multiply-adds one form is offered:
the closest. How the parts are fitted to samples, `onnxshallow.fitting.bottleneck` says; what `apply` writes is
closest to the weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxshallow.actions.base import Action, Candidate, FindOptions, Found, Kind, Rewrite, Statistics
from onnxshallow.actions.emission import layer_nodes
from onnxshallow.analysis import Analysis, Layer, NotLinearError
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.convolution import Convolution, Form, Taps, own_taps, spectra, split
from onnxshallow.fitting.regression import bytes_needed
from onnxshallow.model.editor import GraphEditor

__all__ = ["Decompose", "Split"]

# The shares of a layer's multiply-adds that two layers may keep: a seventh less from one to the next.
_SHARES = tuple(0.8 * 0.86**step for step in range(16))
# What damage grows with: measured 3.2 to 4 in most layers of ResNet-20, for all forms alike.
_POWER = 3.5
# The most groups: with more the second layer has most of the work.
_MOST_GROUPS = 16
# What three parts lack at last, as a share of what they lack where each channel between them reads a single one.
_MIXED = 0.5


@dataclass(frozen=True, kw_only=True)
class Split(Candidate):
    """Two or three layers in place of one.

    Attributes:
        rank: channels between them, of each group.
        groups: of the first.
        taps: which the first has, see `onnxshallow.convolution.rank`.
        left: norm of what the closest of the form lacks of the weights, relative to theirs.
    """

    kind: ClassVar[Kind] = "split"

    rank: int
    groups: int = 1
    taps: Taps = "all"
    left: float | None = field(default=None, compare=False)

    @property
    def variant(self) -> dict[str, Any]:
        """The form."""
        return {"rank": self.rank, "groups": self.groups, "taps": self.taps}

    @property
    def form(self) -> Form:
        """The form of the parts."""
        return Form(self.rank, self.groups, self.taps)

    @property
    def layers(self) -> int:
        """How many layers it makes."""
        return self.form.parts

    @property
    def what(self) -> str:
        """Which layer it was."""
        became = {
            "all": "two",
            "rows": "two, k x 1 and 1 x k",
            "none": "two, 1 x 1 and k x k",
            "apart": "three, 1 x 1, a k x k kernel for each channel, and 1 x 1",
        }[self.taps]
        return f"the layer that makes {self.output!r} became {became}, with {self._channels} between them"

    @property
    def short(self) -> str:
        """What the parts are."""
        return f"split in {'three' if self.layers == 3 else 'two'}, {self._form}"

    @property
    def title(self) -> str:
        """The action and the form."""
        return f"{self.action}: {self._form}"

    @property
    def _form(self) -> str:
        first = {"all": "", "rows": "k x 1 first, ", "none": "1 x 1 first, ", "apart": "kernels apart, "}[self.taps]
        return f"{first}{self._channels} between"

    @property
    def _channels(self) -> str:
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        return f"{self.form.between} channels{groups}"

    @property
    def label(self) -> str:
        """The rank, and what else tells the form."""
        groups = f":groups{self.groups}" if self.groups > 1 else ""
        return f":rank{self.rank}{groups}" + (f":{self.taps}" if self.taps != "all" else "")

    @property
    def capacity(self) -> float:
        """How close the parts come to the weights; where that is not known the channels between them."""
        return float(self.form.between) if self.left is None else 1.0 / max(self.left, 1e-6)

    def power(self, measured: Candidate) -> float:
        """Damage grows faster than with the square of what the weights lack: a fit makes up for more of less."""
        return 2.0 if self.left is None else _POWER


class Decompose(Action[Split]):
    """Replaces dense convolutions and linear layers by two or three with few channels between them."""

    name = "decompose"
    candidate_class = Split

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """For every layer the closest form at each cost; none unless layers may be added."""
        if not options.deeper:
            return Found((), {})
        layers = [layer for layer in analysis.layers if layer.kind != "affine"]
        return Found(tuple(c for layer in layers for c in self._candidates(analysis, layer, options)), {})

    def _candidates(self, analysis: Analysis, layer: Layer, options: FindOptions) -> list[Split]:
        node = analysis.network.nodes[layer.main]
        outputs, unknowns = layer.weight_shape[0], prod(layer.weight_shape[1:])
        before = layer_macs(analysis.network, node)
        if analysis.layers.groups(layer) != 1 or before is None or analysis.network.is_constant(layer.source):
            return []
        if bytes_needed(unknowns, outputs, 1) > options.memory:
            return []
        made = [
            Split(
                action=self.name,
                sites=(),
                source=layer.source,
                output=layer.output,
                rank=form.rank,
                groups=form.groups,
                taps=form.taps,
                left=left,
                error=error,
                macs=before - macs,
                params=outputs * unknowns - params,
                depth=1 - form.parts,
                nodes=frozenset(layer.nodes),
            )
            for form, macs, params, left, error in _forms(analysis, layer, before, options.grouped)
            if macs < before
        ]
        return made if options.every_size else _closest_of_each_cost(made, before)

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Split, statistics: Statistics) -> Rewrite:
        """Replace the layer that makes `candidate.output`."""
        layer = analysis.layers.by_output.get(candidate.output)
        if layer is None:
            raise NotLinearError(f"no layer makes tensor {candidate.output!r}")
        *parts, last = split(analysis.layers.convolution(layer), candidate.form)
        dtype = analysis.layers.dtype(layer)
        nodes: list[gs.Node] = []
        made = [layer.source]
        for part in parts:
            made.append(editor.fresh(f"{layer.name}_rank{candidate.form.between}"))
            nodes += layer_nodes(editor, part, made[-2], made[-1], name=editor.fresh_node(made[-1]), dtype=dtype)
        nodes += layer_nodes(editor, last, made[-1], layer.output, name=layer.name, dtype=dtype)
        editor.replace([analysis.network.nodes[index].outputs[0] for index in layer.nodes], nodes)
        return Rewrite(fit=(*made[1:], layer.output))


def _closest_of_each_cost(made: list[Split], before: int) -> list[Split]:
    """For each of `_SHARES` the closest of those that keep at most that share of the multiply-adds."""
    closest: dict[Split, None] = {}
    for share in _SHARES:
        cheap = [c for c in made if before - c.macs <= share * before]
        if cheap:
            closest[min(cheap, key=lambda c: (c.left, -c.macs))] = None
    return list(closest)


def _forms(
    analysis: Analysis, layer: Layer, before: int, grouped: bool
) -> Iterator[tuple[Form, int, int, float, float]]:
    """Every form that a layer may have, with its multiply-adds and parameters, and two relative errors.

    These are the Frobenius norm of what the closest of the form lacks over that of the weights; and as ALDS has it
    the operator norm, of the worst group, over that of the weights. Of three parts they are estimates.

    Args:
        analysis: of the network.
        layer: the layer, of one group.
        before: its multiply-adds.
        grouped: whether one of them may have groups.
    """
    convolution = analysis.layers.convolution(layer)
    channels, outputs = convolution.in_channels, convolution.out_channels
    for groups, taps in _kinds(convolution, grouped):
        own, other = own_taps(convolution, taps)
        pixels = before // (outputs * channels * own * other)
        entered = _positions(analysis, layer, taps, pixels)
        if entered is None:
            continue
        squares = spectra(convolution, groups, taps)
        whole: Taps = "all" if taps == "apart" else taps
        total, largest = max(float(squares.sum()), 1e-300), max(float(spectra(convolution, 1, whole)[0, 0]), 1e-300)
        lacking = np.maximum(total - np.cumsum(squares.sum(axis=0)), 0.0)
        next_values = [*squares.max(axis=0)[1:].tolist(), 0.0]
        apart = taps == "apart"
        after = other + outputs if apart else groups * outputs * other  # weights of the later parts, for each rank
        scale = _MIXED if apart else 1.0
        for rank, (left, value) in enumerate(zip(lacking.tolist(), next_values, strict=True), start=1):
            form = Form(rank, groups, taps)
            if apart and rank == 1:
                continue  # the kernel of a single channel is what `none` has
            params = rank * (channels * own + after) + form.between * (form.parts - 1)
            macs = rank * (entered * channels * own + pixels * after)
            yield form, macs, params, scale * sqrt(left / total), scale * sqrt(value / largest)


def _kinds(convolution: Convolution, grouped: bool) -> Iterator[tuple[int, Taps]]:
    """Groups and taps of the first layer that make a difference; kernels apart are groups of the second."""
    yield 1, "all"
    wide = [size > 1 for size in convolution.kernel_shape]
    if any(wide):
        yield 1, "none"
        if grouped:
            yield 1, "apart"
    if wide and wide[0] and any(wide[1:]):
        yield 1, "rows"
    if grouped and convolution.rank:
        most = min(convolution.in_channels, _MOST_GROUPS)
        yield from ((groups, "all") for groups in range(2, most + 1) if convolution.in_channels % groups == 0)


def _positions(analysis: Analysis, layer: Layer, taps: Taps, pixels: int) -> int | None:
    """At how many positions the first of two layers computes, where the whole does at `pixels`; None: not known."""
    read, made = (analysis.network.full_shape(name) for name in (layer.source, layer.output))
    for axis in range(len(layer.weight_shape) - 2):
        if taps == "all" or (taps == "rows" and axis == 0):
            continue
        if read is None or made is None:
            return None
        pixels = pixels * int(read[2 + axis]) // int(made[2 + axis])
    return pixels
