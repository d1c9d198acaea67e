import numpy as np
import onnx
import pytest

from onnxshallow.analysis import find_sites
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.inlining import branches, calls
from tests.graphs import assert_close, assert_same_function, parse, run_plain, signed

ACT = """<domain: "pkg", opset_import: ["" : 17]> act (a) => (b) { k = Relu(a) b = Sin(k) }"""
DEEP = """<domain: "pkg", opset_import: ["" : 17, "pkg" : 1]> deep (a) => (b) { h = pkg.act(a) b = pkg.act(h) }"""


def test_functions_are_written_out_and_put_back():
    text = "(float[N,3] x) => (float[N,3] y) { h = pkg.deep(x) n = Abs(h) y = pkg.act(n) }"
    model = parse(text, domains=["pkg"], functions=f"{ACT}\n{DEEP}")
    made = plainly_spelled(model)
    operators = [node.op_type for node in made.model.graph.node]
    assert operators == ["Relu", "Sin", "Relu", "Sin", "Abs", "Relu", "Sin"]
    assert not made.model.functions
    assert len(find_sites(Network(made.model))) == 3
    assert_same_function(made.model, model)
    assert made.restored(made.model) == model


def test_calls_inside_bodies_are_written_out_too():
    text = """(float[N,3] x, bool q) => (float[N,3] y) {
        y = If(q) <then_branch = t () => (float[N,3] k) { k = pkg.act(x) },
                   else_branch = e () => (float[N,3] l) { l = Neg(x) }> }"""
    model = parse(text, domains=["pkg"], functions=ACT)
    made = plainly_spelled(model)
    (site,) = find_sites(Network(made.model))
    assert "runs conditionally" in site.refusal
    assert made.restored(made.model) == model


def test_calls_take_the_defaults_of_their_functions():
    leaky = """<domain: "pkg", opset_import: ["" : 17]> leaky <alpha: float = 0.25, beta: float = 3.0> (a) => (b) {
        h = LeakyRelu<alpha: float = @alpha>(a) b = HardSigmoid<alpha: float = @beta>(h) }"""
    outer = """<domain: "pkg", opset_import: ["" : 17, "pkg" : 1]> outer (a) => (b) { b = pkg.leaky<beta=2.0>(a) }"""
    text = "(float[N,3] x) => (float[N,3] y) { h = pkg.leaky(x) g = pkg.leaky<alpha=0.5>(h) y = pkg.outer(g) }"
    model = parse(text, domains=["pkg"], functions=f"{leaky}\n{outer}")
    made = plainly_spelled(model)
    stated = [onnx.helper.get_attribute_value(node.attribute[0]) for node in made.model.graph.node]
    assert stated == [0.25, 3.0, 0.5, 3.0, 0.25, 2.0]
    values = {"x": signed("x", (4, 3))}
    assert_close(run_plain(made.model, values)[0], run_plain(model, values)[0])
    assert made.restored(made.model) == model


def test_functions_of_other_versions_stay():
    old = ACT.replace('"" : 17', '"" : 13')
    model = parse("(float[N,3] x) => (float[N,3] y) { y = pkg.act(x) }", domains=["pkg"], functions=old)
    assert calls(model)[0] == []


BRANCHES = """(float[N,3] x) => (float[N,3] y) { h = Sin(x)
    a = If(%s) <then_branch = t () => (float[N,3] k) { g = Relu(h) k = Add(g, x) },
               else_branch = e () => (float[N,3] l) { l = Identity(h) }>
    b = If(yes) <then_branch = t () => (float[N,3] k) { g = Relu(a) k = Mul(g, x) },
                 else_branch = e () => (float[N,3] l) { l = Identity(h) }>
    y = Abs(b) }"""


@pytest.mark.parametrize(
    ("condition", "operators"),
    [("yes", ["Sin", "Relu", "Add", "Relu", "Mul", "Abs"]), ("no", ["Sin", "Identity", "Relu", "Mul", "Abs"])],
)
def test_the_branch_that_is_always_taken(condition, operators):
    flags = {"yes": np.array(True), "no": np.array(False)}
    used = {name: flags[name] for name in {"yes", condition}}
    model = parse(BRANCHES % condition, **used)
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == operators
    onnx.checker.check_model(made.model, full_check=True)
    assert_same_function(made.model, model)
    assert made.restored(made.model) == model


def test_branches_with_weights_of_their_own_and_two_outputs():
    text = """(float[N,3] x) => (float[N,3] y, float[N,3] z) {
        y, z = If(yes) <then_branch = t () => (float[N,3] k, float[N,3] m)
                            <float[3] c = {1.0, 2.0, 3.0}> { k = Add(x, c) m = Identity(k) },
                        else_branch = e () => (float[N,3] k, float[N,3] m) { k = Neg(x) m = Abs(x) }> }"""
    model = parse(text, yes=np.array(True))
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == ["Add", "Identity"]
    assert_same_function(made.model, model)
    assert made.restored(made.model) == model


def test_conditions_that_the_input_decides_stay():
    assert branches(Network(parse((BRANCHES % "q").replace("yes", "q").replace("x)", "x, bool q)", 1)))) == []
