"""Replace a max pooling by an average pooling; the layers that read it are re-fitted to what they made.

A max pooling over k values takes k - 1 comparisons of each output under secure computation, an average none. An
average is smaller than a maximum and moves with it, so the layers that read it are fitted to make what they made.
"""

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxshallow.actions.base import Action, Candidate, FindOptions, Found, Rewrite, Statistics
from onnxshallow.analysis import Analysis, NotLinearError
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.network import Node

__all__ = ["Average", "Pool"]

_AVERAGES = {"MaxPool": "AveragePool", "GlobalMaxPool": "GlobalAveragePool"}
# What both poolings take, and what an average leaves out of its count.
_SHARED = ("kernel_shape", "strides", "pads", "auto_pad", "ceil_mode")


@dataclass(frozen=True)
class Average(Candidate):
    """An average pooling in place of a max pooling."""

    @property
    def what(self) -> str:
        """What stands in its place."""
        return f"the max pooling that makes {self.output!r} became an average pooling"

    @property
    def short(self) -> str:
        """What stands in its place."""
        return "an average pooling for a max pooling"


class Pool(Action[Average]):
    """Replaces max poolings, where comparisons are paid for."""

    name = "pool"
    candidate_class = Average

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every max pooling of which only the values are read."""
        if not (options.poolings or options.every_size):
            return Found((), {})
        network = analysis.network
        nodes = [n for n in network.nodes if n.index in network.alive and n.is_op(*_AVERAGES) and _is_plain(n)]
        return Found(
            tuple(
                Average(self.name, (), node.inputs[0], node.outputs[0], nodes=frozenset({node.index}))
                for node in nodes
                if not network.is_constant(node.outputs[0])
            ),
            {},
        )

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Average, statistics: Statistics) -> Rewrite:
        """Replace the pooling that makes `candidate.output`."""
        node = analysis.network.producer(candidate.output)
        if node is None or not node.is_op(*_AVERAGES) or node.inputs[0] != candidate.source:
            raise NotLinearError(f"no max pooling makes tensor {candidate.output!r}")
        attributes = {name: node.attributes[name] for name in _SHARED if name in node.attributes}
        source, made = editor.tensor(candidate.source), editor.tensor(candidate.output)
        average = gs.Node(_AVERAGES[node.op], node.name, attributes, [source], [made])
        editor.replace([candidate.output], [average])
        return Rewrite(fit=tuple(_readers(analysis, candidate.output)))


def _is_plain(node: Node) -> bool:
    """Whether nobody reads where the maxima were, and an average can be taken over the same values."""
    dilations = node.attributes.get("dilations", ())
    return len([name for name in node.outputs if name]) == 1 and all(step == 1 for step in dilations)


def _readers(analysis: Analysis, tensor: str) -> list[str]:
    """The outputs of the first layers on each way from a tensor."""
    found: dict[str, None] = {}
    todo, seen = [tensor], {tensor}
    while todo:
        for node in analysis.network.consumers(todo.pop()):
            layer = analysis.layers.by_node.get(node.index)
            if layer is not None and layer.kind != "affine":
                found[layer.output] = None
                continue
            todo += [name for name in node.outputs if name not in seen]
            seen.update(node.outputs)
    return list(found)
