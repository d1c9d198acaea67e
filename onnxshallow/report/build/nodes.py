"""A network's nodes as the report draws them: what matters to its cost and its shape, in graph order.

Normalizations, reshapes and the arithmetic on shapes that exporters write are left out; an edge leads past them.
"""

from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import Analysis
from onnxshallow.analysis.cost import is_linear, layer_macs
from onnxshallow.model.network import Node
from onnxshallow.report.schema.reports import NodeReport

__all__ = ["node_reports"]

# With one input that is no constant, these only carry, scale or reorder values.
_PLAIN = frozenset(
    {"Add", "BatchNormalization", "Cast", "Div", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Mul", "Pad"}
    | {"Reshape", "Slice", "Squeeze", "Sub", "Sum", "Transpose", "Unsqueeze", "QuantizeLinear", "DequantizeLinear"}
)


def node_reports(analysis: Analysis, candidates: tuple[Candidate, ...] = ()) -> list[NodeReport]:
    """The nodes to draw, each after those that it reads.

    Args:
        analysis: of the network.
        candidates: what a plan changes in it.
    """
    network = analysis.network
    changes = {index: candidate.key for candidate in candidates for index in candidate.nodes}
    found = [
        NodeReport(name=info.name, op="Input", output=info.name, inputs=[], shape=_shape(analysis, info.name))
        for info in network.inputs
    ]
    sources: dict[str, list[int]] = {node.output: [position] for position, node in enumerate(found)}
    for node in network.nodes:
        if node.index not in network.alive or network.is_constant(node.outputs[0]):
            continue
        inputs = _joined(sources, node.reads)
        if _is_drawn(analysis, node):
            found.append(_report(analysis, node, inputs, changes.get(node.index)))
            inputs = [len(found) - 1]
        sources.update(dict.fromkeys(filter(None, node.outputs), inputs))
    for name in network.output_names:
        shape = _shape(analysis, name)
        found.append(NodeReport(name=name, op="Output", output=name, inputs=sources.get(name, []), shape=shape))
    return found


def _joined(sources: dict[str, list[int]], tensors: tuple[str, ...]) -> list[int]:
    return list(dict.fromkeys(position for name in tensors for position in sources.get(name, ())))


def _is_drawn(analysis: Analysis, node: Node) -> bool:
    network = analysis.network
    if is_linear(network, node) or node.index in analysis.site_of_node:
        return True
    dtype = network.dtype(node.outputs[0])
    if dtype is not None and dtype.kind in "iub":
        return False
    given = {name for name in node.reads if not network.is_constant(name)}
    floating = [name for name in given if (found := network.dtype(name)) is None or found.kind not in "iub"]
    return len(floating) > 1 or node.op not in _PLAIN


def _report(analysis: Analysis, node: Node, inputs: list[int], change: str | None) -> NodeReport:
    network, site = analysis.network, analysis.site_of_node.get(node.index)
    weight = network.shape(node.inputs[1]) if node.op in ("Conv", "ConvTranspose") else None
    kernel = None if weight is None else [size or 0 for size in weight[2:]]
    return NodeReport(
        name=node.name,
        op=node.op,
        output=node.outputs[0],
        inputs=inputs,
        shape=_shape(analysis, node.outputs[0]),
        kernel=kernel,
        macs=layer_macs(network, node) if is_linear(network, node) else None,
        relus=None if site is None else site.size,
        change=change,
    )


def _shape(analysis: Analysis, tensor: str) -> list[int | None] | None:
    shape = analysis.network.shape(tensor)
    return None if shape is None else list(shape[1:])
