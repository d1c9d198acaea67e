import math

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import find_sites
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.clamps import Clamp, clamp_of, merged_clamps
from tests.graphs import assert_same_function, parse

NUMBERS = dict(zero=0.0, one=1.0, six=6.0, minus=-0.4, tenth=0.1, two=2.0)
SLOPES = np.array([0.1, -0.5, 0.9], np.float32).reshape(3, 1, 1)


def spelled(body: str, opset: int = 17, kind: str = "float") -> onnx.ModelProto:
    """A model whose `body` makes y of x (N, 3, 4, 5)."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind.upper()))
    arrays = {name: np.full((), value, dtype) for name, value in NUMBERS.items()}
    arrays |= dict(
        zeros=np.zeros((1, 3, 1, 1), dtype), slopes=SLOPES.astype(dtype), wide=np.zeros((2, 3, 4, 5), dtype)
    )
    text = f"({kind}[N,3,4,5] x) => ({kind}[N,3,4,5] y) {{ {body} }}"
    model = parse(text, opset=opset)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name)
        for name, value in arrays.items()
        if any(name in node.input for node in model.graph.node)
    )
    return model


SPELLINGS = [
    ("y = Max(x, zero)", ["Relu"]),
    ("y = Max(zero, x)", ["Relu"]),
    ("y = Max(x, zeros)", ["Relu"]),
    ("y = Max(x, zero, minus)", ["Relu"]),
    ("y = Max(x, minus)", ["Clip"]),
    ("y = Min(x, six)", ["Clip"]),
    ("a = Max(x, zero) y = Min(a, six)", ["Clip"]),
    ("a = Min(x, six) y = Max(a, zero)", ["Clip"]),
    ("a = Clip(x, zero) y = Clip(a, , six)", ["Clip"]),
    ("a = Relu(x) y = Min(a, six)", ["Clip"]),
    ("a = Relu(x) y = Max(a, minus)", ["Relu"]),
    ("a = LeakyRelu<alpha=0.2>(x) y = Max(a, minus)", ["LeakyRelu", "Clip"]),
    ("y = ThresholdedRelu<alpha=0.0>(x)", ["Relu"]),
    ("g = Greater(x, zero) y = Where(g, x, zero)", ["Relu"]),
    ("g = GreaterOrEqual(x, zero) y = Where(g, x, zero)", ["Relu"]),
    ("g = Less(zero, x) y = Where(g, x, zeros)", ["Relu"]),
    ("g = LessOrEqual(x, zeros) y = Where(g, zero, x)", ["Relu"]),
    ("g = Less(x, zero) n = Not(g) y = Where(n, x, zero)", ["Relu"]),
    ("g = Greater(x, zero) c = Cast<to=1>(g) y = Mul(x, c)", ["Relu"]),
    ("g = Greater(x, zero) c = CastLike(g, x) y = Mul(c, x)", ["Relu"]),
    ("a = Mul(x, tenth) y = Max(a, x)", ["LeakyRelu"]),
    ("a = Mul(minus, x) y = Max(x, a)", ["LeakyRelu"]),
    ("a = Mul(x, two) y = Min(x, a)", ["LeakyRelu"]),
    ("a = Mul(x, slopes) y = Max(a, x)", ["PRelu"]),
    ("a = Mul(x, tenth) g = Greater(x, zero) y = Where(g, x, a)", ["LeakyRelu"]),
    ("a = Mul(x, slopes) g = Less(x, zero) y = Where(g, a, x)", ["PRelu"]),
]


@pytest.mark.parametrize(("body", "plain"), SPELLINGS)
def test_spellings(body, plain):
    model = spelled(body)
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == plain
    assert [site.refusal for site in find_sites(Network(made.model))] == [None] * len(plain)
    onnx.checker.check_model(made.model, full_check=True)
    assert_same_function(made.model, model)
    assert made.restored(made.model) == model


OTHERS = [
    "y = Max(x, one)",
    "y = Max(x, slopes)",
    "a = Mul(x, two) y = Max(a, x)",
    "a = Mul(x, tenth) y = Min(a, x)",
    "y = ThresholdedRelu(x)",
    "g = Greater(x, one) y = Where(g, x, zero)",
    "g = Greater(x, zero) y = Where(g, x, one)",
    "g = Less(x, zero) c = Cast<to=1>(g) y = Mul(x, c)",
    "a = Relu(x) y = Relu(a)",
    "y = Max(x, x)",
]


@pytest.mark.parametrize("body", OTHERS)
def test_what_is_no_rectifier_is_not_written_as_one(body):
    model = spelled(body)
    made = plainly_spelled(model).model
    assert_same_function(made, model)
    kinds = [site.kind for site in find_sites(Network(made))]
    assert kinds == (["relu", "relu"] if "Relu(a)" in body else [])


@pytest.mark.parametrize("opset", [8, 10, 11, 12, 18])
def test_each_opset_has_its_own_clip(opset):
    model = spelled("a = Max(x, zero) y = Min(a, six)", opset=opset)
    made = plainly_spelled(model).model
    assert [node.op_type for node in made.graph.node] == ["Clip"]
    onnx.checker.check_model(made, full_check=True)
    assert_same_function(made, model)


@pytest.mark.parametrize(
    ("kind", "body", "plain"),
    [("float16", "y = Max(x, zero)", "Relu"), ("float16", "y = Max(x, minus)", "Clip"),
     ("double", "y = Max(x, zero)", "Relu"), ("double", "a = Mul(x, tenth) y = Max(a, x)", "Max"),
     ("int32", "y = Max(x, zero)", "Max")],
)  # fmt: skip
def test_element_types(kind, body, plain):
    made = plainly_spelled(spelled(body, kind=kind)).model
    assert made.graph.node[-1].op_type == plain


def test_a_constant_that_makes_the_result_larger_is_no_bound():
    model = parse("(float[3,4] x) => (float[2,3,4] y) { y = Max(x, k) }", k=np.zeros((2, 1, 1), np.float32))
    assert plainly_spelled(model).model is model


def test_bounds_that_the_caller_decides_are_left_alone():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Max(x, k) }", as_inputs=True, k=np.zeros((), np.float32))
    assert plainly_spelled(model).model is model


def test_what_is_read_elsewhere_stays():
    model = spelled("g = Greater(x, zero) r = Where(g, x, zero) c = Cast<to=1>(g) y = Add(r, c)")
    assert [n.op_type for n in plainly_spelled(model).model.graph.node] == ["Greater", "Relu", "Cast", "Add"]
    model = spelled("a = Max(x, zero) b = Min(a, six) y = Add(a, b)")
    assert [n.op_type for n in plainly_spelled(model).model.graph.node] == ["Relu", "Clip", "Add"]


def test_clamps_behind_each_other():
    assert Clamp(0, math.inf).then(Clamp(-math.inf, 6)) == Clamp(0, 6)
    assert Clamp(-1, 1).then(Clamp(2, 3)) == Clamp(2, 2)
    assert Clamp(0, 6).bounds == 2
    assert Clamp(0, math.inf).bounds == 1


def test_clamp_of():
    network = Network(spelled("a = Clip(x, zero, six) b = Relu(a) y = Neg(b)"))
    assert [clamp_of(network, node) for node in network.nodes] == [Clamp(0, 6), Clamp(0, math.inf), None]
    (change,) = merged_clamps(network)
    assert change.places == (0, 1)


@pytest.mark.parametrize("kind", ["float", "float16", "double"])
@pytest.mark.parametrize(("low", "clamp"), [("zero", Clamp(0, math.inf)), ("lowest", Clamp(-math.inf, math.inf))])
def test_the_outermost_numbers_are_no_bounds(kind, low, clamp):
    model = spelled(f"y = Clip(x, {low}, highest)", kind=kind)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    huge = np.finfo(dtype).max
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, dtype), name)
        for name, value in (("lowest", -huge), ("highest", huge))
    )
    network = Network(model)
    assert clamp_of(network, network.nodes[0]) == clamp
    assert [site.kind for site in find_sites(network)] == ["relu"][: clamp.bounds]
