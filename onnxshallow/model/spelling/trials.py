"""What a few elementwise nodes compute of one tensor, found by trying them on numbers.

Whatever their order is, and wherever their constants stand: an activation that is written out in several nodes is
recognised by its values, not by its looks.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import OWN_DOMAIN
from onnxshallow.model.spelling.clamps import fits

__all__ = ["body_of", "regions", "tried"]

_CURVED = (
    "Abs", "Clip", "Elu", "Erf", "Exp", "HardSigmoid", "LeakyRelu", "Max", "Min", "Relu", "Sigmoid", "Sign",
    "Softplus", "Sqrt", "Tanh", "Where",
)  # fmt: skip
_STRAIGHT = ("Add", "Cast", "CastLike", "Div", "Identity", "Log", "Mul", "Neg", "Pow", "Reciprocal", "Sub")
_CONDITIONS = ("And", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or")
_ELEMENTWISE = (*_CURVED, *_STRAIGHT, *_CONDITIONS)
# An activation takes no more nodes than this: GELU by tanh, with powers as products.
_MOST = 14


def regions(network: Network, end: Node, gone: Collection[int]) -> Iterator[tuple[list[Node], str]]:
    """Groups of elementwise nodes, not all linear, that end in a node and read one tensor, the smallest first.

    Args:
        network: the network.
        end: the last node.
        gone: indices of nodes that are in no group.

    Yields:
        The nodes in graph order, and the tensor; nothing but the nodes reads what is made between them.
    """
    nodes = {end.index: end}
    while len(nodes) <= _MOST:
        made = {name for node in nodes.values() for name in node.outputs}
        reads = {name for node in nodes.values() for name in node.reads if not network.is_constant(name)} - made
        if len(reads) == 1 and any(node.is_op(*_CURVED) for node in nodes.values()):
            inner = made - set(end.outputs)
            readers = {reader.index for name in inner for reader in network.consumers(name)}
            if readers <= set(nodes) and not any(network.is_output(name) for name in inner):
                yield [nodes[index] for index in sorted(nodes)], next(iter(reads))
        makers = [maker for name in reads if (maker := network.producer(name)) is not None]
        last = max(makers, key=lambda node: node.index, default=None)
        if last is None or not _may_join(last, gone):
            return
        nodes[last.index] = last


def _may_join(node: Node, gone: Collection[int]) -> bool:
    return node.is_op(*_ELEMENTWISE) and node.index not in gone and len(node.outputs) == 1 and not node.captures


def body_of(network: Network, nodes: Sequence[Node], source: str) -> onnx.FunctionProto | None:
    """The nodes as a function of x without a name; None where a constant is no single number.

    Tensors are numbered and nodes have no names, so that the same nodes elsewhere make the same function.
    """
    names, steps = {source: "x", nodes[-1].outputs[0]: "y"}, []
    for node in nodes:
        for name in node.reads:
            if name in names:
                continue
            value = network.constant(name)
            if value is None or value.size != 1 or not fits(network, value, source):
                return None
            names[name] = f"t{len(names)}"
            number = onnx.numpy_helper.from_array(value.reshape(()))
            steps.append(onnx.helper.make_node("Constant", [], [names[name]], value=number))
        names.setdefault(node.outputs[0], f"t{len(names)}")
        step = onnx.helper.make_node(node.op, [names.get(name, "") for name in node.inputs], [names[node.outputs[0]]])
        step.attribute.extend(node.proto.attribute)
        steps.append(step)
    imports = [entry for entry in network.model.opset_import if entry.domain in ("", "ai.onnx")]
    return onnx.helper.make_function(OWN_DOMAIN, "", ["x"], ["y"], steps, imports)


def tried(network: Network, body: onnx.FunctionProto, numbers: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """What a function makes of numbers; None where it cannot be run.

    Args:
        network: that the function is from.
        body: the function, of `body_of`.
        numbers: (n,), of the element type that it works on.
    """
    from onnx.reference import ReferenceEvaluator

    ends = (onnx.helper.make_empty_tensor_value_info(name) for name in "xy")
    graph = onnx.helper.make_graph(body.node, "tried", *([end] for end in ends))
    model = onnx.helper.make_model(graph, opset_imports=body.opset_import, ir_version=network.model.ir_version)
    try:
        with np.errstate(all="ignore"):
            (made,) = ReferenceEvaluator(model).run(None, {"x": numbers})
    except Exception:  # the reference has gaps, and nodes may be invalid; either way they are nothing that is known
        return None
    same = isinstance(made, np.ndarray) and made.shape == numbers.shape and made.dtype == numbers.dtype
    return made if same else None
