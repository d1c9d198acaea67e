"""Random networks with their rectifiers in other spellings, which must be read as what they are, and come back."""

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxshallow.analysis import Analysis, analyze
from onnxshallow.model.network import is_default_domain
from onnxshallow.model.shapes import all_names
from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import frozen
from tests.properties.cases import Case, Counts, assert_close

__all__ = ["check_spelled", "spelled"]

_Spelling = Callable[[onnx.NodeProto, str, int], list[onnx.NodeProto]]


def _max(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    return [helper.make_node("Max", [zero, node.input[0]], node.output, node.name)]


def _where(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    gate = f"{node.output[0]}_gate"
    compared = helper.make_node("Greater", [node.input[0], zero], [gate])
    return [compared, helper.make_node("Where", [gate, node.input[0], zero], node.output, node.name)]


def _gate(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    below, gate, number = (f"{node.output[0]}_{what}" for what in ("below", "gate", "number"))
    return [
        helper.make_node("Less", [node.input[0], zero], [below]),
        helper.make_node("Not", [below], [gate]),
        helper.make_node("Cast", [gate], [number], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [number, node.input[0]], node.output, node.name),
    ]


def _thresholded(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    return [helper.make_node("ThresholdedRelu", node.input, node.output, node.name, alpha=0.0)]


def _absolute(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    size, total, half = (f"{node.output[0]}_{what}" for what in ("size", "total", "half"))
    return [
        helper.make_node("Abs", [node.input[0]], [size]),
        helper.make_node("Add", [size, node.input[0]], [total]),
        helper.make_node("Constant", [], [half], value=numpy_helper.from_array(np.array(0.5, np.float32))),
        helper.make_node("Mul", [total, half], node.output, node.name),
    ]


def _filled(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    sizes, zeros = (f"{node.output[0]}_{what}" for what in ("sizes", "zeros"))
    return [
        helper.make_node("Shape", [node.input[0]], [sizes]),
        helper.make_node("ConstantOfShape", [sizes], [zeros]),
        helper.make_node("Max", [node.input[0], zeros], node.output, node.name),
    ]


def _looked_at(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    return [node, helper.make_node("Shape", [node.output[0]], [f"{node.output[0]}_unread"])]


def _branch(node: onnx.NodeProto, zero: str, opset: int) -> list[onnx.NodeProto]:
    flag = f"{node.output[0]}_always"
    always = helper.make_node("Constant", [], [flag], value=numpy_helper.from_array(np.array(True)))
    taken, other = (
        helper.make_graph(
            [helper.make_node(op, node.input, [f"{node.output[0]}_{op}"])],
            op,
            [],
            [helper.make_empty_tensor_value_info(f"{node.output[0]}_{op}")],
        )
        for op in ("Relu", "Neg")
    )
    return [always, helper.make_node("If", [flag], node.output, node.name, then_branch=taken, else_branch=other)]


def spelled(model: onnx.ModelProto, random: random.Random) -> onnx.ModelProto:
    """The model with some of its Relu nodes of float32 written in other ways."""
    opset = next(entry.version for entry in model.opset_import if is_default_domain(entry.domain))
    if opset < 8:  # before, Max does not broadcast
        return model
    spellings: list[_Spelling] = [_max, _absolute, _looked_at]
    spellings += [_thresholded, _filled] if opset >= 10 else []
    spellings += [_where, _gate, _branch] if opset >= 11 else []
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    zero = "spelled_zero"
    assert zero not in all_names(model.graph)
    for node in model.graph.node:
        drawn = node.op_type == "Relu" and is_default_domain(node.domain) and random.random() < 0.8
        made.graph.node.extend(random.choice(spellings)(node, zero, opset) if drawn else [node])
    if any(zero in node.input for node in made.graph.node):
        value = np.zeros((), np.float32)
        made.graph.initializer.append(numpy_helper.from_array(value, zero))
        if made.ir_version < 4:
            made.graph.input.append(helper.make_tensor_value_info(zero, onnx.TensorProto.FLOAT, ()))
    return made


def check_spelled(case: Case, random: random.Random, counts: Counts) -> None:
    """Other spellings are read as what they are, compute the same, and come back as they were."""
    network = case.analysis.network
    if any(info.dtype != np.float32 for info in network.inputs):
        return
    other = spelled(case.model, random)
    if frozen(other) == frozen(case.model):
        return
    onnx.checker.check_model(other, full_check=True)
    plain = plainly_spelled(other)
    expected = analyze(plainly_spelled(case.model).model, case.input_shapes)
    made = analyze(plain.model, case.input_shapes)
    assert _in_short(made) == _in_short(expected), "other spellings are read as other sites"
    for name, one, two in zip(network.output_names, case.run(plain.model), case.outputs, strict=True):
        assert_close(one, two, f"{name} of other spellings")
    assert frozen(plain.restored(plain.model)) == frozen(other), "what was left alone is not spelled as before"
    counts["models in other spellings"] += 1


def _in_short(analysis: Analysis) -> list[tuple[str, str, int | None, int]]:
    return [(site.output, site.kind, site.size, site.channels) for site in analysis.sites]
