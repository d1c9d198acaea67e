import numpy as np
import onnx

from onnxshallow.model.network import Network
from onnxshallow.model.spelling.changes import Change, changed, fresh, in_order, reads, undone, with_constants
from tests.graphs import parse

make = onnx.helper.make_node
MODEL = parse("(float[N,3] x) => (float[N,3] y) { a = Neg(x) b = Abs(a) y = Exp(b) }")


def change() -> Change:
    """Neg and Abs written as Abs alone."""
    return Change.of(MODEL.graph, (1, 0), [make("Abs", ["x"], ["b"])])


def test_a_change_there_and_back():
    made = changed(MODEL, [change()])
    assert [node.op_type for node in made.graph.node] == ["Abs", "Exp"]
    assert undone(made.graph.node, [change()], {"x", "y"}) == list(MODEL.graph.node)


def test_what_was_edited_stays_as_it_is():
    edited = [make("Abs", ["x"], ["b"], "edited"), MODEL.graph.node[2]]
    assert undone(edited, [change()], {"x", "y"}) == edited
    assert undone(edited[1:], [change()], {"x", "y", "b"}) == edited[1:]


def test_a_change_is_not_taken_back_where_what_it_needs_is_gone():
    nodes = [make("Abs", ["x"], ["b"]), MODEL.graph.node[2]]
    assert undone(nodes, [change()], {"y"}) == nodes


def test_a_change_is_not_taken_back_where_something_reads_what_only_it_makes():
    apart = Change.of(MODEL.graph, [1], [make("Neg", ["a"], ["inner"]), make("Abs", ["inner"], ["b"])])
    assert apart.inner == {"inner"}
    nodes = list(changed(MODEL, [apart]).graph.node)
    assert undone(nodes, [apart], {"x", "y"}) == list(MODEL.graph.node)
    nodes.append(make("Exp", ["inner"], ["other"]))
    assert undone(nodes, [apart], {"x", "y"}) == nodes


def test_in_order():
    first, second, third = MODEL.graph.node
    assert in_order([third, first, second]) == [first, second, third]
    assert in_order([first, second, third]) == [first, second, third]


def test_reads_and_fresh_names():
    text = """(float[N,3] x, bool q) => (float[N,3] y) { h = Neg(x)
        y = If(q) <then_branch = t () => (float[N,3] k) { k = Relu(h) },
                   else_branch = e () => (float[N,3] l) { l = Abs(x) }> }"""
    assert reads(parse(text).graph.node[1]) == {"q", "h", "x"}
    taken = {"a", "a_2"}
    assert fresh("a", taken) == "a_3"
    assert "a_3" in taken


def test_a_node_reads_constants_instead():
    model = parse("(float[N,3] x, int64[2] s) => (float[N,3] y) { y = Reshape(x, s) }")
    (node,) = Network(model).nodes
    change = with_constants(model.graph, node, {1: np.array([-1, 3])}, {"s_known"})
    made = changed(model, [change])
    assert list(made.graph.node[0].input) == ["x", "s_known_2"]
    assert [tensor.name for tensor in made.graph.initializer] == ["s_known_2"]
    assert undone(made.graph.node, [change], {"x", "y", "s", "s_known_2"}) == list(model.graph.node)


def test_nodes_without_any_in_their_place_come_back_where_what_they_read_is_there():
    gone = [Change.of(MODEL.graph, [1], []), Change.of(MODEL.graph, [2], [])]
    first = MODEL.graph.node[0]
    assert list(changed(MODEL, gone).graph.node) == [first]
    assert undone([first], gone, {"x", "y"}) == list(MODEL.graph.node)
    assert undone([], gone, {"x", "y"}) == []
