import numpy as np
import onnx
import pytest

from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import assert_same_function, parse

CONSTANTS = dict(
    zero=np.array(0), first=np.array([0]), second=np.array([1]), two=np.array(2), rest=np.array([6, 4, 5]),
    minus=np.array([-1]), axis=np.array([1]),
)  # fmt: skip

EXPORTS = {  # of torch's exporters
    "x.view(x.size(0), 6, 4, 5)": (
        "s = Shape(h) g = Gather<axis=0>(s, zero) u = Unsqueeze(g, first) t = Concat<axis=0>(u, rest)"
        " k = Reshape(h, t) y = Abs(k)",
        ["Sin", "Identity", "Abs"],
    ),
    "x.view(x.size(0), -1)": (
        "s = Shape<start=0, end=1>(h) t = Concat<axis=0>(s, minus) k = Reshape(h, t) y = Abs(k)",
        ["Sin", "Reshape", "Abs"],
    ),
    "a branch for channels of size one, as of torch.squeeze": (
        "s = Shape(h) g = Gather<axis=0>(s, second) e = Equal(g, second) k = If(e) <"
        "then_branch = t () => (float[N,6,4,5] p) { p = Exp(h) },"
        "else_branch = f () => (float[N,6,4,5] q) { q = Neg(h) }> y = Abs(k)",
        ["Sin", "Neg", "Abs"],
    ),
    "the first of torch.chunk(x, 2, dim=1)": (
        "s = Shape(h) g = Gather<axis=0>(s, second) a = Add(g, second) d = Div(a, two) k = Slice(h, first, d, axis)"
        " y = Abs(k)",
        ["Sin", "Slice", "Abs"],
    ),
}


@pytest.mark.parametrize(("body", "operators"), EXPORTS.values(), ids=EXPORTS)
def test_known_sizes_are_constants_and_are_put_back(body, operators):
    used = {name: value for name, value in CONSTANTS.items() if f", {name}" in body or f"({name}" in body}
    model = parse(f"(float[N,6,4,5] x) => (float[N,c,h,w] y) {{ h = Sin(x) {body} }}", **used)
    if "minus" in body:
        del model.graph.output[0].type.tensor_type.shape.dim[2:]
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == operators
    assert_same_function(plain.model, model)
    assert plain.restored(plain.model) == model


def test_what_depends_on_the_batch_elsewhere_is_computed():
    body = "s = Shape(x) g = Gather<axis=0>(s, first) t = Concat<axis=0>(tall, g) k = Reshape(x, t) y = Abs(k)"
    model = parse(f"(float[N,6] x) => (float[m,n] y) {{ {body} }}", first=np.array([0]), tall=np.array([6]))
    operators = {node.op_type for node in plainly_spelled(model).model.graph.node}
    assert "Shape" in operators


def test_open_sizes_are_computed():
    body = "s = Shape(x) d = Gather<axis=0>(s, last) k = Slice(x, first, d, last) y = Abs(k)"
    model = parse(f"(float[N,3,H] x) => (float[N,3,n] y) {{ {body} }}", first=np.array([0]), last=np.array([2]))
    operators = {node.op_type for node in plainly_spelled(model).model.graph.node}
    assert "Shape" in operators
    onnx.checker.check_model(plainly_spelled(model).model)
