"""Nodes that are written one after the other."""

import numpy as np
import onnx
import pytest

from onnxshallow.model.editor import GraphEditor
from onnxshallow.rewriting.lowering.node_writer import NodeWriter
from tests.graphs import assert_same_function, ops, parse


def rewritten(write, *, opset: int = 17) -> onnx.ModelProto:
    """The model y = Relu(x) with what `write` makes of a writer and x in the Relu's place."""
    editor = GraphEditor(parse("(float[N,4,2] x) => (float[N,4,2] y) { y = Relu(x) }", opset=opset))
    made = editor.tensor("y")
    writer = NodeWriter(editor, "act", np.dtype(np.float32), 1, opset)
    (relu,) = made.inputs
    write(writer, editor.tensor("x"), relu)
    writer.replace(relu, made)
    model = editor.finish()
    onnx.checker.check_model(model, full_check=True)
    return model


def same(text: str, model: onnx.ModelProto, **weights: np.ndarray) -> None:
    assert_same_function(model, parse(f"(float[N,4,2] x) => (float[N,4,2] y) {{ {text} }}", **weights))


@pytest.mark.parametrize(
    ("scale", "shift", "expected"),
    [(2.0, 0.5, ["Mul", "Add", "Neg"]), (1.0, 0.5, ["Add", "Neg"]), (2.0, 0.0, ["Mul", "Neg"]), (1.0, 0.0, ["Neg"])],
)
def test_what_does_nothing_is_not_written(scale, shift, expected):
    def write(writer, x, _):
        writer.write("Neg", "minus", [writer.affine("map", x, np.full(4, scale), np.full(4, shift))])

    model = rewritten(write)
    assert ops(model) == expected
    same("a = Mul(x, s) b = Add(a, t) y = Neg(b)", model, s=np.float32([scale]), t=np.float32([shift]))


@pytest.mark.parametrize("opset", [9, 12, 13, 18])
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([[0, 1, 2], [3]], ["Split", "Relu", "Concat"]),
        ([[0, 2], [1, 3]], ["Gather", "Gather", "Relu", "Concat", "Gather"]),
        ([[0, 1, 2, 3]], ["Relu"]),
    ],
)
def test_groups_are_split_where_they_lie_together(groups, expected, opset):
    members = [np.array(group) for group in groups]

    def write(writer, x, node):
        first, *others = writer.split(x, members)
        writer.join([writer.move("active", node, [first]), *others], members)

    model = rewritten(write, opset=opset)
    assert ops(model) == expected
    slope = np.ones((4, 1), np.float32)
    slope[groups[0]] = 0
    values = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    (actual,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": values})
    np.testing.assert_allclose(actual, np.where(values > 0, values, slope * values), rtol=1e-6)


def test_names_are_not_used_twice():
    def write(writer, x, _):
        writer.write("Neg", "minus", [writer.write("Neg", "minus", [x])])

    model = rewritten(write)
    assert [node.name for node in model.graph.node] == ["act/minus", "act/minus_2"]
    same("y = Identity(x)", model)
