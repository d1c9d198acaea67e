"""Split one convolution into two of small rank: fewer multiply-adds, at the price of a layer.

    Conv k x k, C -> N            Conv k x k, C -> r, then Conv 1x1, r -> N

costs r (C k^2 + N) multiply-adds a pixel in place of N C k^2. The responses of a trained layer lie close to a space
of r < N dimensions. ALDS (arXiv 2107.11442) spreads the ranks over the layers by an optimisation of its own; here the
integer program does, among everything else. The space is found by reduced-rank regression
(`onnxshallow.fitting.bottleneck`); what `apply` writes is the best approximation of the weights.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxshallow.actions.base import Action, Candidate, FindOptions, Found, Kind, Rewrite, Statistics
from onnxshallow.actions.emission import layer_nodes
from onnxshallow.analysis import Analysis, Layer, NotLinearError
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.convolution import split
from onnxshallow.fitting.regression import bytes_needed
from onnxshallow.model.editor import GraphEditor

__all__ = ["Decompose", "Split"]

# Ranks to try, as shares of the full rank.
_SHARES = (1 / 2, 3 / 8, 1 / 4)
# Splits that save less than this share of a layer's multiply-adds are not worth a layer.
_LEAST_SAVING = 0.2


@dataclass(frozen=True, kw_only=True)
class Split(Candidate):
    """Two layers in place of one.

    Attributes:
        rank: channels between them.
    """

    kind: ClassVar[Kind] = "split"
    layers: ClassVar[int | None] = 2

    rank: int

    @property
    def what(self) -> str:
        """Which layer it was."""
        return f"the layer that makes {self.output!r} became two, with {self.rank} channels between them"

    @property
    def short(self) -> str:
        """The rank."""
        return f"split in two, {self.rank} channels between"

    @property
    def capacity(self) -> float:
        """The rank."""
        return float(self.rank)

    def power(self, measured: Candidate) -> float:
        """Damage falls with the square of the rank."""
        return 2.0


class Decompose(Action[Split]):
    """Replaces dense convolutions and linear layers by two of smaller rank."""

    name = "decompose"
    candidate_class = Split

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every layer with every rank that saves enough; none unless layers may be added."""
        if not options.deeper:
            return Found((), {})
        layers = [layer for layer in analysis.layers if layer.kind != "affine"]
        return Found(tuple(c for layer in layers for c in self._candidates(analysis, layer, options)), {})

    def _candidates(self, analysis: Analysis, layer: Layer, options: FindOptions) -> list[Split]:
        node = analysis.network.nodes[layer.main]
        outputs, unknowns = layer.weight_shape[0], int(np.prod(layer.weight_shape[1:]))
        before = layer_macs(analysis.network, node)
        if int(node.attributes.get("group", 1)) != 1 or before is None or analysis.network.is_constant(layer.source):
            return []
        if bytes_needed(unknowns, outputs, 1) > options.memory:
            return []
        pixels = before // (outputs * unknowns)
        ranks = dict.fromkeys(max(1, round(share * min(outputs, unknowns))) for share in _SHARES)
        saved = {rank: before - pixels * rank * (unknowns + outputs) for rank in ranks}
        return [
            Split(
                action=self.name,
                sites=(),
                source=layer.source,
                output=layer.output,
                rank=rank,
                macs=macs,
                depth=-1,
                nodes=frozenset(layer.nodes),
            )
            for rank, macs in saved.items()
            if macs >= _LEAST_SAVING * before
        ]

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Split, statistics: Statistics) -> Rewrite:
        """Replace the layer that makes `candidate.output`."""
        layer = analysis.layers.by_output.get(candidate.output)
        if layer is None:
            raise NotLinearError(f"no layer makes tensor {candidate.output!r}")
        narrow, wide = split(analysis.layers.convolution(layer), candidate.rank)
        between = editor.fresh(f"{layer.name}_rank{candidate.rank}")
        dtype = analysis.layers.dtype(layer)
        nodes: list[gs.Node] = [
            *layer_nodes(editor, narrow, layer.source, between, name=editor.fresh_node(between), dtype=dtype),
            *layer_nodes(editor, wide, between, layer.output, name=layer.name, dtype=dtype),
        ]
        editor.replace([analysis.network.nodes[index].outputs[0] for index in layer.nodes], nodes)
        return Rewrite(fit=(between, layer.output))
