"""What lies inside nodes: the bodies of If, Loop and Scan, and local functions of another version of the operators.

Each is looked at as a network of its own, spelled plainly, so that an activation is found there in every spelling in
which it is found elsewhere. What it reads outside are its inputs, or constants where these are known and small.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import onnx

from onnxshallow.model.network import Network, Node, outer_references
from onnxshallow.model.shapes import OWN_DOMAIN, all_names, without_large_values
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.changes import fresh

__all__ = ["Hidden", "hidden_networks"]

# Constants of more elements are no bounds or slopes; what stands inside is told their size alone.
_SMALL = 1024


@dataclass(frozen=True, eq=False)
class Hidden:
    """What lies inside a node.

    Attributes:
        network: the nodes there, for the batch for which the shapes around it are known.
        where: in words, with the node's name.
        once: whether it runs at most once, so that its sizes tell how much is computed.
    """

    network: Network
    where: str
    once: bool


def hidden_networks(network: Network, holder: Node) -> Iterator[Hidden]:
    """What lies inside a node: one network for each of its bodies, or for the local function that it calls."""
    when = "conditionally" if holder.op == "If" else "again and again"
    where = f"inside the body of {holder.op} node {holder.name!r}, which runs {when}"
    for body in holder.bodies:
        yield Hidden(_plain(network, _of_body(network, body)), where, holder.op == "If")
    for function in network.model.functions:
        if (function.domain, function.name) == (holder.domain, holder.op) and function.domain != OWN_DOMAIN:
            called = f"inside the local function {holder.op!r}, which is of another version of the operators"
            yield Hidden(_plain(network, _of_function(network, holder, function)), called, once=True)


def _of_body(network: Network, body: onnx.GraphProto) -> onnx.ModelProto:
    """A body as a model; an axis that it leaves open in front is the batch."""
    model = onnx.ModelProto(graph=body, opset_import=network.model.opset_import)
    model.graph.name = body.name or "body"
    _give(network, model.graph, {name: name for name in sorted(outer_references(body))})
    for value in model.graph.output:
        sizes = value.type.tensor_type.shape.dim
        if sizes and sizes[0].dim_value <= 0:
            sizes[0].dim_value = network.batch
    return model


def _of_function(network: Network, call: Node, function: onnx.FunctionProto) -> onnx.ModelProto:
    """A local function as a model, with the attributes of its call."""
    model = onnx.ModelProto(opset_import=function.opset_import)
    model.graph.name = function.name or "function"
    model.graph.node.extend(function.node)
    model.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, function.output))
    _give(network, model.graph, dict(zip_longest(function.input, call.inputs[: len(function.input)], fillvalue="")))
    values = {each.name: each for each in (*function.attribute_proto, *call.proto.attribute)}
    for node in model.graph.node:
        stated = [each for each in node.attribute if not each.ref_attr_name]
        for each in (each for each in node.attribute if each.ref_attr_name in values):
            value = onnx.AttributeProto.FromString(values[each.ref_attr_name].SerializeToString())
            value.name = each.name
            stated.append(value)
        copies = [onnx.AttributeProto.FromString(each.SerializeToString()) for each in stated]
        del node.attribute[:]
        node.attribute.extend(copies)
    return model


def _give(network: Network, graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Let a graph have tensors of the network around it, by the names that they have there and in the network.

    The first input is read by nothing: it has as many samples as the batch.
    """
    first = onnx.helper.make_tensor_value_info(
        fresh("samples", all_names(graph) | set(names)), onnx.TensorProto.FLOAT, [network.batch, 1]
    )
    given = [first, *graph.input]
    for name, outside in names.items():
        info = network.infos.get(outside)
        value = network.constant(outside) if info is not None and info.is_complete and info.size <= _SMALL else None
        if value is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        elif info is None or info.dtype is None:
            given.append(onnx.helper.make_empty_tensor_value_info(name))
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(info.dtype)
            given.append(onnx.helper.make_tensor_value_info(name, kind, info.shape))
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in given]
    del graph.input[:]
    graph.input.extend(copies)


def _plain(network: Network, model: onnx.ModelProto) -> Network:
    """The network of a model, in its plain spelling."""
    model.ir_version = max(network.model.ir_version, 4)
    model.functions.extend(each for each in network.model.functions if each.domain != OWN_DOMAIN)
    return _spelled(without_large_values(model).SerializeToString(deterministic=True))


@lru_cache(maxsize=64)
def _spelled(model: bytes) -> Network:
    """The network of a serialized model, kept: the network around it is looked at with every change made to it."""
    return Network(plainly_spelled(onnx.ModelProto.FromString(model)).model)
