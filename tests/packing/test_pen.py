"""Nodes that are written one after the other."""

import numpy as np
import onnx
import pytest

from onnxshallow.model.surgery import Workbench
from onnxshallow.packing.pen import Pen
from tests.graphs import assert_same_function, ops, parse


def rewritten(write, *, opset: int = 17) -> onnx.ModelProto:
    """The model y = Relu(x) with what `write` makes of a pen and x in the Relu's place."""
    bench = Workbench(parse("(float[N,4,2] x) => (float[N,4,2] y) { y = Relu(x) }", opset=opset))
    made = bench.tensor("y")
    pen = Pen(bench, "act", np.dtype(np.float32), 1, opset)
    (relu,) = made.inputs
    write(pen, bench.tensor("x"), relu)
    pen.replace(relu, made)
    model = bench.finish()
    onnx.checker.check_model(model, full_check=True)
    return model


def same(text: str, model: onnx.ModelProto, **weights: np.ndarray) -> None:
    assert_same_function(model, parse(f"(float[N,4,2] x) => (float[N,4,2] y) {{ {text} }}", **weights))


@pytest.mark.parametrize(
    ("scale", "shift", "expected"),
    [(2.0, 0.5, ["Mul", "Add", "Neg"]), (1.0, 0.5, ["Add", "Neg"]), (2.0, 0.0, ["Mul", "Neg"]), (1.0, 0.0, ["Neg"])],
)
def test_what_does_nothing_is_not_written(scale, shift, expected):
    def write(pen, x, _):
        pen.write("Neg", "minus", [pen.affine("map", x, np.full(4, scale), np.full(4, shift))])

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

    def write(pen, x, node):
        first, *others = pen.split(x, members)
        pen.join([pen.move("active", node, [first]), *others], members)

    model = rewritten(write, opset=opset)
    assert ops(model) == expected
    slope = np.ones((4, 1), np.float32)
    slope[groups[0]] = 0
    values = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    (actual,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": values})
    np.testing.assert_allclose(actual, np.where(values > 0, values, slope * values), rtol=1e-6)


def test_names_are_not_used_twice():
    def write(pen, x, _):
        pen.write("Neg", "minus", [pen.write("Neg", "minus", [x])])

    model = rewritten(write)
    assert [node.name for node in model.graph.node] == ["act/minus", "act/minus_2"]
    same("y = Identity(x)", model)
