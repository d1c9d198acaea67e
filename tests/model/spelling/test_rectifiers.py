import numpy as np
import onnx
import pytest

from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import assert_same_function, parse

NUMBERS = dict(half=0.5, two=2.0, zero=0.0, six=6.0, some=0.55, rest=0.45, tiny=1e-12)

SPELLINGS = {
    "a = Abs(x) s = Add(x, a) y = Div(s, two)": "Relu",
    "a = Abs(x) s = Add(a, x) y = Mul(half, s)": "Relu",
    "m = Min(x, zero) y = Sub(x, m)": "Relu",
    "z = Sub(x, x) y = Max(x, z)": "Relu",
    "z = Mul(x, zero) y = Min(z, x)": "Clip",
    "g = Less(x, zero) c = Cast<to=9>(g) y = Where(c, zero, x)": "Relu",
    "g = Greater(x, zero) n = Not(g) y = Where(n, zero, x)": "Relu",
    "n = Neg(x) m = Min(n, zero) y = Neg(m)": "Relu",
    "n = Neg(x) r = Relu(n) y = Neg(r)": "Clip",
    "n = Neg(x) r = Relu(n) y = Add(r, x)": "Relu",
    "g = Greater(x, zero) y = Where(g, zero, x)": "Clip",
    "g = Greater(x, six) r = Relu(x) y = Where(g, six, r)": "Clip",
    "a = Abs(x) p = Mul(x, some) q = Mul(a, rest) y = Add(p, q)": "LeakyRelu",
    "r = Relu(x) n = Neg(x) q = Relu(n) s = Mul(q, half) y = Sub(r, s)": "LeakyRelu",
}


def spelled(body: str, kind: str = "float") -> onnx.ModelProto:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind.upper()))
    model = parse(f"({kind}[N,3,4,5] x) => ({kind}[N,3,4,5] y) {{ {body} }}")
    read = {name for node in model.graph.node for name in node.input}
    numbers = {name: np.full((), value, dtype) for name, value in NUMBERS.items() if name in read}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in numbers.items())
    return model


@pytest.mark.parametrize(("body", "operator"), SPELLINGS.items())
@pytest.mark.parametrize("kind", ["float", "float16"])
def test_what_several_nodes_compute_is_one_and_is_put_back(body, operator, kind):
    model = spelled(body, kind)
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == [operator]
    onnx.checker.check_model(plain.model, full_check=True)
    assert_same_function(plain.model, model)
    assert plain.restored(plain.model) == model


@pytest.mark.parametrize(
    "body",
    [
        "a = Abs(x) s = Sub(a, x) y = Mul(s, half)",  # max(-x, 0)
        "a = Abs(x) y = Add(x, a)",  # twice too large
        "r = Relu(x) y = Neg(r)",
        "r = Relu(x) y = Sub(r, half)",
        "g = Greater(x, half) y = Where(g, x, zero)",  # jumps
        "c = Clip(x, zero, six) y = Div(c, six)",
        "r = Relu(x) s = Sin(x) y = Add(r, s)",
    ],
)
def test_what_is_something_else_stays(body):
    model = spelled(body)
    made = plainly_spelled(model).model
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in model.graph.node]


def test_a_root_of_a_square_folds_too():
    plain = plainly_spelled(spelled("q = Mul(x, x) a = Sqrt(q) s = Add(a, x) y = Mul(half, s)"))
    assert [node.op_type for node in plain.model.graph.node] == ["Relu"]


def test_a_relu_to_which_next_to_nothing_is_added_stays_one():
    plain = plainly_spelled(spelled("m = Max(x, zero) y = Add(m, tiny)"))
    assert [node.op_type for node in plain.model.graph.node] == ["Relu", "Add"]


def test_what_is_read_between_stays():
    model = spelled("a = Abs(x) s = Add(x, a) h = Div(s, two) y = Mul(h, a)")
    assert len(plainly_spelled(model).model.graph.node) == 4
