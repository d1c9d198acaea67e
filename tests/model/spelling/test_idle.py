import re

import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.idle import idle_nodes
from tests.graphs import assert_same_function, parse

CONSTANTS = dict(
    same=np.array([0, 3, 4, 5]), rest=np.array([-1, 3, 4, 5]), one=np.array([1, 3, 4, 5]), flat=np.array([0, 3, 20]),
    two=np.array([2]), three=np.array([3]), last=np.array([-1]), folded=np.array([0, 3, 5, 4]),
    zero=np.zeros((), np.float32), unit=np.ones((), np.float32), zeros=np.zeros((3, 4, 5), np.float32),
    slope=np.ones((3, 1, 1), np.float32),
    ones=np.ones(4, np.int64), scales=np.ones(4, np.float32), nothing=np.zeros(8, np.int64), order=np.arange(3),
    start=np.array([0, 0]), end=np.array([4, 2**31 - 1]), along=np.array([2, 3]), widths=np.array([1, 3, 4, 5]),
    none=np.zeros(0, np.int64),
)  # fmt: skip


def operators(body: str, opset: int = 17) -> tuple[list[str], onnx.ModelProto, onnx.ModelProto]:
    constants = {name: value for name, value in CONSTANTS.items() if re.search(rf"\b{name}\b", body)}
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
        "a = Unsqueeze(r, last) s = Squeeze(a, last)",
        "a = Transpose<perm=[0,2,3,1]>(r) b = Transpose<perm=[0,2,3,1]>(a) s = Transpose<perm=[0,2,3,1]>(b)",
        "s = Transpose<perm=[0,1,2,3]>(r)",
        "a = Reshape(r, flat) s = Reshape(a, same)",
        "a = Reshape(r, flat) b = Unsqueeze(a, last) c = Reshape(b, folded) s = Reshape(c, rest)",
        "a = Cast<to=11>(r) s = Cast<to=1>(a)",
        "s = Add(r, zero)",
        "s = Add(zeros, r)",
        "s = Sub(r, zeros)",
        "s = Mul(unit, r)",
        "s = Div(r, slope)",
        "s = Pow(r, unit)",
        "s = Concat<axis=1>(r)",
        "s = Sum(r)",
        "s = Max(r, r)",
        "s = Slice(r, start, end, along)",
        "s = Gather<axis=1>(r, order)",
        "s = Pad(r, nothing)",
        "s = Tile(r, ones)",
        "s = Expand(r, ones)",
        's = Resize<mode="linear">(r, , scales)',
        "s = MaxPool<kernel_shape=[1,1]>(r)",
        "s = PRelu(r, slope)",
        "s = LeakyRelu<alpha=1.0>(r)",
        "s = Clip(r)",
        "s = DepthToSpace<blocksize=1>(r)",
        "s = ReduceSum<noop_with_empty_axes=1>(r, none)",
        "s = Split<axis=1>(r)",
        "a = Neg(r) s = Neg(a)",
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
        "y = Slice(x, begin, one, begin)",  # one sample of several
        "y = Slice(x, minus, before, last, minus)",
        'y = Resize<mode="nearest", coordinate_transformation_mode="tf_half_pixel_for_nn">(x, , scales)',
        'y = Resize<mode="nearest">(x, , wider)',
        "a = ReduceSum<keepdims=1>(x, begin) y = Neg(a)",
        "y = Gather<axis=2>(x, other)",
        "y = Sub(zero, x)",
        "y = Add(x, zero_or_one)",
        "a = Reshape(x, whole) y = Neg(a)",
        "a = Unsqueeze(x, one) b = Relu(a) y = Squeeze(b, one)",
        "y = Clip(x, zero)",
        "y = AveragePool<kernel_shape=[3], pads=[1,1]>(x)",
    ],
)
def test_nodes_that_do_something(body):
    constants = dict(one=np.array([1]), last=np.array([2]),
                     begin=np.array([0]), whole=np.array([1, 1, 4]), minus=np.array([-1]), before=np.array([-9]),
                     scales=np.ones(3, np.float32), wider=np.array([1, 1, 1.1], np.float32),
                     other=np.array([0, 2, 1, 3]), zero=np.zeros((), np.float32),
                     zero_or_one=np.array([0, 0, 0, 1], np.float32))  # fmt: skip
    constants = {name: value for name, value in constants.items() if re.search(rf"\b{name}\b", body)}
    model = parse(f"(float[N,1,4] x) => (float[N,1,4] y) {{ {body} }}", **constants)
    assert idle_nodes(Network(model)) == []


@pytest.mark.parametrize(
    "body",
    [
        "a = Reshape(x, turned) y = Reshape(a, back)",
        "a = Unsqueeze(x, one) y = Squeeze(a, two)",
        "y = Expand(x, whole)",
        "y = ReduceMean<axes=[1], keepdims=1>(x)",
    ],
)
def test_axes_of_one_element_may_go_anywhere(body):
    constants = dict(turned=np.array([1, -1, 4]), back=np.array([-1, 1, 4]), one=np.array([1]), two=np.array([2]),
                     whole=np.array([1, 1, 4]))  # fmt: skip
    constants = {name: value for name, value in constants.items() if re.search(rf"\b{name}\b", body)}
    (change,) = idle_nodes(Network(parse(f"(float[N,1,4] x) => (float[N,1,4] y) {{ {body} }}", **constants)))
    assert list(change.new[0].input) == ["x"]


def test_sizes_that_are_open_are_not_guessed():
    model = parse("(float[N,3,H] x) => (float[N,3,H] y) { y = Slice(x, a, b, c) }", a=np.array([0]), b=np.array([9]),
                  c=np.array([2]))  # fmt: skip
    assert idle_nodes(Network(model)) == []
    model = parse("(float[N,3,H] x) => (float[N,3,H] y) { a = Unsqueeze(x, c) y = Squeeze(a, c) }", c=np.array([-1]))
    assert len(idle_nodes(Network(model))) == 1


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


@pytest.mark.parametrize(
    ("kind", "wider", "code", "idle"), [("int64", 11, 7, 0), ("int32", 11, 6, 1), ("uint8", 1, 2, 1)]
)
def test_whole_numbers_survive_where_they_fit(kind, wider, code, idle):
    model = parse(f"({kind}[N,3] x) => ({kind}[N,3] y) {{ a = Cast<to={wider}>(x) y = Cast<to={code}>(a) }}")
    assert len(idle_nodes(Network(model))) == idle
