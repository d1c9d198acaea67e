import numpy as np
import onnx
import pytest

from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import assert_same_function, parse

ZERO = dict(zero=np.array(0, np.float32), two=np.array(2, np.float32))
EXPORTS = [  # of torch.maximum(x, torch.zeros_like(x)), torch.where(x > 0, x, torch.zeros_like(x)), ...
    ("s = Shape(x) f = ConstantOfShape(s) y = Max(x, f)", 17),
    ("s = Shape<start=0>(x) f = Expand(zero, s) y = Max(f, x)", 17),
    ("s = Shape(x) f = ConstantOfShape<value = float[1] {0.0}>(s) g = Greater(x, zero) y = Where(g, x, f)", 13),
    ("s = Shape(x) f = Expand(two, s) d = Sub(f, x) y = Relu(d)", 17),
]


@pytest.mark.parametrize(("body", "opset"), EXPORTS)
def test_one_number_stands_for_a_tensor_of_it(body, opset):
    used = {name: value for name, value in ZERO.items() if f"({name}" in body or f" {name}" in body}
    model = parse(f"(float[N,3,4,5] x) => (float[N,3,4,5] y) {{ {body} }}", opset=opset, **used)
    plain = plainly_spelled(model)
    assert not {"Shape", "ConstantOfShape", "Expand"} & {node.op_type for node in plain.model.graph.node}
    onnx.checker.check_model(plain.model, full_check=True)
    assert_same_function(plain.model, model)
    assert plain.restored(plain.model) == model


@pytest.mark.parametrize(
    "body",
    [
        "s = Shape(z) f = ConstantOfShape(s) y = Max(x, f)",  # may make x larger
        "s = Shape<start=1>(x) f = ConstantOfShape(s) y = Max(x, f)",
    ],
)
def test_other_shapes_stay(body):
    text = f"(float[N,3,4,5] x, float[N,3,4,5] z) => (float[N,3,4,5] y) {{ {body} }}"
    made = plainly_spelled(parse(text)).model
    assert "ConstantOfShape" in {node.op_type for node in made.graph.node}
