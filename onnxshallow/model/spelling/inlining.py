"""Calls of local functions, and branches that are always taken, written out in the main graph."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.inliner

from onnxshallow.model.network import Network, Node
from onnxshallow.model.shapes import all_names, bodies, every_node, without_large_values
from onnxshallow.model.spelling.changes import Change, fresh, reads

__all__ = ["branches", "calls"]


def calls(model: onnx.ModelProto) -> tuple[list[Change], list[onnx.OperatorSetIdProto]]:
    """Calls of local functions with the functions' nodes in their place, and the operator sets that these need.

    A function of another version of an operator set that the model has stays as it is.
    """
    functions = {(function.domain, function.name) for function in model.functions}
    if not functions:
        return [], []
    light = without_large_values(model)
    light.graph.value_info.extend(
        onnx.helper.make_empty_tensor_value_info(tensor.values.name) for tensor in model.graph.sparse_initializer
    )
    _state_defaults(light)
    whole = onnx.inliner.inline_local_functions(light)
    makers = {name: node for node in whole.graph.node for name in node.output if name}
    before = {name for node in model.graph.node for name in node.output}
    found = []
    for place, node in enumerate(light.graph.node):
        outputs = [name for name in node.output if name]
        if any(makers.get(name) == node for name in outputs):
            continue  # as it was: no call, or one that cannot be written out
        inside = _inside(outputs, makers, before)
        if new := [each for each in whole.graph.node if inside & set(each.output)]:
            found.append(Change.of(model.graph, [place], new))
    return found, list(whole.opset_import)


def _state_defaults(model: onnx.ModelProto) -> None:
    """Let every call state the attributes for which its function has a default, which onnx's inliner leaves out."""
    defaults = {(each.domain, each.name, each.overload): each.attribute_proto for each in model.functions}
    for graph in (model.graph, *model.functions):
        for node in every_node(graph):
            stated = {attribute.name for attribute in node.attribute}
            given = defaults.get((node.domain, node.op_type, node.overload), ())
            node.attribute.extend(attribute for attribute in given if attribute.name not in stated)


def _inside(outputs: list[str], makers: Mapping[str, onnx.NodeProto], before: set[str]) -> set[str]:
    """The tensors that written-out nodes make on the way to `outputs`, which are among them."""
    inside: set[str] = set()
    todo = list(outputs)
    while todo:
        name = todo.pop()
        maker = makers.get(name)
        if name in inside or maker is None:
            continue
        inside.add(name)
        todo.extend(each for each in reads(maker) if each not in before)
    return inside


def branches(network: Network) -> list[Change]:
    """If nodes whose condition is a constant, with the branch that is taken in their place."""
    graph = network.model.graph
    taken = all_names(graph)
    found = []
    for node in network.nodes:
        branch = _branch(network, node)
        if branch is None:
            continue
        outputs = {}
        own = {name for inner in branch.node for name in inner.output} | {t.name for t in branch.initializer}
        for value, name in zip(branch.output, node.outputs, strict=True):
            if name and value.name in own and value.name not in outputs:
                outputs[value.name] = name
        names = {name: outputs.get(name) or fresh(f"{node.name}/{name}", taken) for name in own if name}
        new = [_renamed(inner, names) for inner in branch.node]
        made = set(outputs.values())
        for value, name in zip(branch.output, node.outputs, strict=True):
            if name and name not in made:
                new.append(onnx.helper.make_node("Identity", [names.get(value.name, value.name)], [name]))
        initializers = [_renamed_tensor(tensor, names) for tensor in branch.initializer]
        found.append(Change.of(graph, [node.index], new, initializers))
    return found


def _branch(network: Network, node: Node) -> onnx.GraphProto | None:
    """The branch of an If that is always taken."""
    if not node.is_op("If"):
        return None
    condition = network.constant(node.inputs[0])
    if condition is None or condition.size != 1:
        return None
    branch: onnx.GraphProto = node.attributes["then_branch" if np.ravel(condition)[0] else "else_branch"]
    own = {tensor.name for tensor in branch.initializer}
    outputs = {value.name for value in branch.output}
    simple = not branch.sparse_initializer and not own & outputs and len(branch.output) == len(node.outputs)
    return branch if simple and (branch.node or outputs) else None


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of a node, and of the bodies in it, with tensors called otherwise."""
    made = onnx.NodeProto.FromString(node.SerializeToString())
    made.input[:] = [names.get(name, name) for name in node.input]
    made.output[:] = [names.get(name, name) for name in node.output]
    for body in bodies(made):
        inner = [_renamed(each, names) for each in body.node]
        del body.node[:]
        body.node.extend(inner)
        for value in body.output:
            value.name = names.get(value.name, value.name)
    return made


def _renamed_tensor(tensor: onnx.TensorProto, names: Mapping[str, str]) -> onnx.TensorProto:
    made = onnx.TensorProto()
    made.CopyFrom(tensor)
    made.name = names[tensor.name]
    return made
