import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.idle import idle_nodes
from tests.graphs import assert_same_function, parse

CONSTANTS = dict(
    same=np.array([0, 3, 4, 5]), rest=np.array([-1, 3, 4, 5]), one=np.array([1, 3, 4, 5]), flat=np.array([0, 3, 20]),
    two=np.array([2]), three=np.array([3]),
)  # fmt: skip


def operators(body: str, opset: int = 17) -> tuple[list[str], onnx.ModelProto, onnx.ModelProto]:
    constants = {name: value for name, value in CONSTANTS.items() if name in body}
    text = f"(float[N,3,4,5] x) => (float[N,3,4,5] y) {{ r = Relu(x) {body} y = Neg(s) }}"
    model = parse(text, opset=opset, **constants)
    made = plainly_spelled(model)
    assert_same_function(made.model, model)
    assert made.restored(made.model) == model
    return [node.op_type for node in made.model.graph.node], model, made.model


@pytest.mark.parametrize(
    "body",
    [
        "s = Cast<to=1>(r)",
        "s = Reshape(r, same)",
        "s = Reshape(r, rest)",
        "a = Transpose<perm=[0,2,3,1]>(r) s = Transpose<perm=[0,3,1,2]>(a)",
        "a = Transpose(r) s = Transpose(a)",
        "a = Unsqueeze(r, two) s = Squeeze(a, two)",
    ],
)
def test_nodes_that_do_nothing(body):
    made, *_ = operators(body)
    assert made == ["Relu", "Identity", "Neg"]


def test_axes_may_be_attributes():
    made, *_ = operators("a = Unsqueeze<axes=[2]>(r) s = Squeeze<axes=[2]>(a)", opset=11)
    assert made == ["Relu", "Identity", "Neg"]


def test_what_else_is_read_stays():
    body = "a = Transpose<perm=[0,2,3,1]>(r) b = Transpose<perm=[0,3,1,2]>(a)"
    made, *_ = operators(f"{body} c = ReduceMax<axes=[0,1,2,3]>(a) s = Add(b, c)")
    assert made == ["Relu", "Transpose", "Identity", "ReduceMax", "Add", "Neg"]


def test_the_last_of_several_ways_back_takes_the_way_there_along():
    back = "Transpose<perm=[0,3,1,2]>(a)"
    made, *_ = operators(f"a = Transpose<perm=[0,2,3,1]>(r) b = {back} c = {back} s = Add(b, c)")
    assert made == ["Relu", "Identity", "Identity", "Add", "Neg"]


@pytest.mark.parametrize(
    "body",
    [
        "a = Cast<to=10>(x) y = Cast<to=1>(a)",
        "a = Transpose<perm=[0,2,1]>(x) b = Relu(a) y = Transpose<perm=[0,2,1]>(b)",
        "a = Reshape(x, turned) y = Reshape(a, back)",
        "a = Unsqueeze(x, one) y = Squeeze(a, last)",
    ],
)
def test_nodes_that_do_something(body):
    constants = dict(turned=np.array([1, -1, 4]), back=np.array([-1, 1, 4]), one=np.array([1]), last=np.array([2]))
    constants = {name: value for name, value in constants.items() if name in body}
    model = parse(f"(float[N,1,4] x) => (float[N,1,4] y) {{ {body} }}", **constants)
    assert idle_nodes(Network(model)) == []


def test_what_no_output_depends_on_is_left_out_and_put_back():
    model = parse("(float[N,3] x) => (float[N,3] y) { h = Sin(x) a = Shape(h) y = Abs(h) b = Cast<to=1>(a) }")
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == ["Sin", "Abs"]
    assert plain.restored(plain.model) == model
    edited = onnx.ModelProto()
    edited.CopyFrom(plain.model)
    del edited.graph.node[0]
    edited.graph.node[0].input[0] = "x"
    assert [node.op_type for node in plain.restored(edited).graph.node] == ["Abs"]  # what it read is gone
