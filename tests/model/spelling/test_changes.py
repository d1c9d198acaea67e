import onnx

from onnxshallow.model.spelling.changes import Change, changed, fresh, in_order, reads, undone
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
