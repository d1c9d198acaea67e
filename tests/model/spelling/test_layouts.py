import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.smooth import written_out
from tests.graphs import assert_same_function, parse

BACK, LAST = "Transpose<perm=[0,3,1,2]>", "Transpose<perm=[0,2,3,1]>"


def plain_of(text: str, **weights):
    model = parse(text, **weights)
    made = plainly_spelled(model)
    assert_same_function(written_out(made.model), model)
    assert made.restored(made.model) == model
    return made, [node.op_type for node in made.model.graph.node]


@pytest.mark.parametrize("sizes", ["7,6", "4,5,6"])
def test_linear_layers_of_the_last_axis_are_convolutions(sizes):
    text = f"""(float[N,{sizes}] x) => (float[N,{sizes}] y) {{
        h = MatMul(x, w) a = Add(h, b) r = Relu(a) k = MatMul(r, v) y = Add(c, k) }}"""
    made, operators = plain_of(text, w=(6, 8), b=(8,), v=(8, 6), c=(6,))
    assert [op for op in operators if op != "Identity"] == [
        "Transpose",
        "Conv",
        "Add",
        "Relu",
        "Conv",
        "Add",
        "Transpose",
    ]
    (site,) = analyze(made.model).sites
    assert (site.channels, site.refusal) == (8, None)


def test_layers_on_both_sides_of_an_activation_in_nhwc_meet():
    text = f"""(float[N,8,8,3] x) => (float[N,8,8,4] y) {{
        t = {BACK}(x) c = Conv(t, w) u = {LAST}(c) a = Add(u, b) s = Sigmoid(a) g = Mul(s, a) p = PRelu(g, b)
        v = {BACK}(p) d = Conv(v, k) y = {LAST}(d) }}"""
    made, operators = plain_of(text, w=(5, 3, 1, 1), b=(5,), k=(4, 5, 1, 1))
    assert [op for op in operators if op != "Identity"] == [
        "Transpose",
        "Conv",
        "Add",
        "Silu",
        "PRelu",
        "Conv",
        "Transpose",
    ]
    assert [(site.kind, site.channels) for site in analyze(made.model).sites] == [("silu", 5), ("prelu", 5)]


def test_a_residual_sum_in_nhwc_is_one_of_channels():
    text = f"""(float[N,3,8,8] x) => (float[N,5,8,8] y) {{
        a = Conv(x, w) u = {LAST}(a) r = Relu(u) v = {BACK}(r) b = Conv(v, k) m = {LAST}(b) s = Add(r, m) q = Relu(s)
        y = {BACK}(q) }}"""
    _, operators = plain_of(text, w=(5, 3, 1, 1), k=(5, 5, 1, 1))
    assert "Transpose" not in operators


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul(x, x)",  # no weights
        "y = MatMul(x, w)",  # a stack of matrices
        "t = Transpose<perm=[0,1,3,2]>(x) y = Relu(t)",
        "t = Transpose<perm=[0,2,3,1]>(x) u = Softmax(t) y = Relu(u)",
        "t = Transpose<perm=[0,2,3,1]>(x) y = Add(t, x)",
    ],
)
def test_other_products_and_turns_stay(body):
    model = parse(f"(float[N,4,4,4] x) => (float[N,4,4,4] y) {{ {body} }}", w=(4, 4, 4))
    if "w" not in body:
        del model.graph.initializer[:]
    assert plainly_spelled(model).model is model


def test_weights_that_may_be_overridden_stay():
    model = parse("(float[N,7,6] x) => (float[N,7,8] y) { y = MatMul(x, w) }", w=(6, 8), as_inputs=True)
    assert plainly_spelled(model).model is model


def test_constants_that_are_broadcast_turn_along():
    text = f"""(float[N,3,4,5] x) => (float[N,4,5,3] y) {{
        t = {LAST}(x) a = Mul(t, row) b = Sub(a, number) y = Add(map, b) }}"""
    weights = dict(row=(5, 1), map=(4, 5, 3), number=np.full((1, 1), 0.5, np.float32))
    _, operators = plain_of(text, **weights)
    assert operators == ["Mul", "Sub", "Add", "Transpose"]


def test_nodes_without_names_get_none_twice():
    text = """(float[N,7,6] x) => (float[N,7,6] y) {
        h = MatMul(x, w) r = Relu(h) k = MatMul(r, v) q = Relu(k) y = MatMul(q, v) }"""
    made = plainly_spelled(parse(text, w=(6, 6), v=(6, 6))).model
    names = [node.name for node in Network(made).nodes]
    written = [node.name for node in made.graph.node if node.name]
    assert len(set(written)) == len(written)
    assert {name for name, node in zip(names, made.graph.node, strict=True) if not node.name}.isdisjoint(written)


def test_weights_that_a_node_turns_are_counted_once():
    text = """(float[N,4,5,6] x) => (float[N,4,5,6] y) {
        t = Transpose(w) h = MatMul(x, t) r = Relu(h) u = Transpose(v) k = MatMul(r, u) y = Add(c, k) }"""
    made, operators = plain_of(text, w=(8, 6), v=(6, 8), c=(6,))
    assert operators.count("Transpose") == 2
    assert analyze(made.model).cost.params == 8 * 6 + 6 * 8 + 6
