import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.smooth import FORMULAS, called, written_out
from tests.graphs import assert_close, assert_same_function, feeds, parse, run_plain

NUMBERS = dict(
    half=0.5, one=1.0, three=3.0, six=6.0, zero=0.0, root=2**0.5, part=1 / 6, cube=0.044715, tanh=(2 / np.pi) ** 0.5,
    quick=1.702, two=2.0, twenty=20.0, lecun=1.050701, large=400.0, small=0.001,
)  # fmt: skip

SPELLINGS = {
    "s = Sigmoid(x) y = Mul(x, s)": "Silu",
    "s = Sigmoid(x) y = Mul(s, x)": "Silu",
    "a = Mul(x, quick) s = Sigmoid(a) y = Mul(x, s)": "QuickGelu",
    "a = Div(x, root) e = Erf(a) b = Add(e, one) c = Mul(x, b) y = Mul(c, half)": "Gelu",
    "h = Mul(x, half) a = Div(x, root) e = Erf(a) b = Add(one, e) y = Mul(h, b)": "Gelu",
    "q = Mul(x, x) c = Mul(q, x) d = Mul(cube, c) s = Add(x, d) t = Mul(tanh, s) u = Tanh(t) v = Add(u, one)"
    " w = Mul(x, v) y = Mul(half, w)": "FastGelu",
    "c = Pow(x, three) d = Mul(c, cube) s = Add(d, x) t = Mul(s, tanh) u = Tanh(t) v = Add(one, u) w = Mul(v, half)"
    " y = Mul(w, x)": "FastGelu",
    "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)": "HardSwish",
    "a = Add(x, three) c = Clip(a, zero, six) d = Mul(c, part) y = Mul(x, d)": "HardSwish",
    "a = Add(x, three) b = Max(a, zero) c = Min(b, six) d = Div(c, six) y = Mul(d, x)": "HardSwish",
    "a = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(a, x)": "HardSwish",
    "a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)": "HardSigmoid",
    "p = Softplus(x) t = Tanh(p) y = Mul(x, t)": "Mish",
    "e = Exp(x) f = Add(e, one) p = Log(f) t = Tanh(p) y = Mul(x, t)": "Mish",
    "p = Softplus(x) g = Greater(x, twenty) w = Where(g, x, p) t = Tanh(w) y = Mul(x, t)": "Mish",
    "e = Exp(x) f = Add(e, one) y = Log(f)": "Softplus",
    "p = Softplus(x) g = Greater(x, twenty) y = Where(g, x, p)": "Softplus",
    "e = Exp(x) f = Sub(e, one) g = Greater(x, zero) y = Where(g, x, f)": "Elu",
    "r = Max(x, zero) a = Abs(x) b = Neg(a) e = Exp(b) f = Add(e, one) l = Log(f) y = Add(r, l)": "Softplus",
    "r = Relu(x) e = Exp(x) f = Sub(e, one) m = Min(f, zero) y = Add(r, m)": "Elu",
    "r = Relu(x) n = Min(x, zero) e = Exp(n) f = Sub(one, e) y = Sub(r, f)": "Elu",
    "a = Abs(x) b = Add(a, one) y = Div(x, b)": "Softsign",
    "n = Neg(x) p = Softplus(n) y = Neg(p)": "LogSigmoid",
    "s = Sigmoid(x) y = Log(s)": "LogSigmoid",
    "n = Neg(x) e = Exp(n) f = Add(e, one) d = Reciprocal(f) y = Mul(x, d)": "Silu",
    "n = Neg(x) e = Exp(n) f = Add(e, one) y = Reciprocal(f)": "Sigmoid",
    "n = Neg(x) e = Exp(n) f = Add(one, e) y = Div(one, f)": "Sigmoid",
    "e = Exp(x) f = Add(one, e) y = Div(e, f)": "Sigmoid",
    "e = Exp(x) n = Neg(x) f = Exp(n) a = Sub(e, f) b = Add(e, f) y = Div(a, b)": "Tanh",
    "d = Mul(x, two) s = Sigmoid(d) t = Mul(s, two) y = Sub(t, one)": "Tanh",
    "r = Elu<alpha=1.6732632>(x) y = Mul(r, lecun)": "Selu",
}


def spelled(body: str, kind: str = "float", opset: int = 17) -> onnx.ModelProto:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind.upper()))
    numbers = {name: np.full((), value, dtype) for name, value in NUMBERS.items()}
    model = parse(f"({kind}[N,3,4,5] x) => ({kind}[N,3,4,5] y) {{ {body} }}", opset=opset)
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in numbers.items() if k in read)
    return model


@pytest.mark.parametrize(("body", "name"), SPELLINGS.items())
@pytest.mark.parametrize("kind", ["float", "float16"])
def test_a_smooth_activation_is_one_call_and_is_put_back(body, name, kind):
    model = spelled(body, kind)
    plain = plainly_spelled(model)
    (node,) = Network(plain.model).nodes
    assert called(node) == name
    onnx.checker.check_model(plain.model, full_check=True)
    values = feeds(model)
    assert_close(run_plain(plain.model, values)[0], run_plain(model, values)[0])
    assert plain.restored(plain.model) == model


@pytest.mark.parametrize("body", list(SPELLINGS))
def test_calls_that_are_left_are_written_out(body):
    model = spelled(body)
    made = written_out(plainly_spelled(model).model)
    assert not made.functions
    assert [entry.domain for entry in made.opset_import] == [""]
    assert_same_function(made, model)


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_what_their_names_say(name):
    body = next(body for body, each in SPELLINGS.items() if each == name)
    x = np.linspace(-6, 6, 60, dtype=np.float32).reshape(1, 3, 4, 5)
    (made,) = run_plain(spelled(body), {"x": x})
    np.testing.assert_allclose(made, FORMULAS[name](x.astype(np.float64)), atol=2e-6)


@pytest.mark.parametrize("kind", ["float", "float16"])
@pytest.mark.parametrize(
    ("body", "name", "scales"),
    [
        ("a = Mul(x, two) s = Sigmoid(a) y = Mul(x, s)", "Silu", {"alpha": 2.0}),
        (
            "e = Exp(x) f = Sub(e, one) m = Mul(f, half) g = Greater(x, zero) y = Where(g, x, m)",
            "Elu",
            {"alpha": 0.5},
        ),
        ("r = Elu<alpha=3.0>(x) y = Mul(r, half)", "Selu", {"alpha": 3.0, "gamma": 0.5}),
    ],
)
def test_scales_that_a_formula_leaves_open_are_read_off(body, name, scales, kind):
    model = spelled(body, kind)
    plain = plainly_spelled(model)
    (node,) = Network(plain.model).nodes
    assert called(node) == name
    assert {key: node.attributes[key] for key in scales} == pytest.approx(
        scales, rel=2e-2 if kind == "float16" else 1e-4
    )
    onnx.checker.check_model(plain.model, full_check=True)
    values = feeds(model)
    assert_close(run_plain(plain.model, values)[0], run_plain(model, values)[0])
    assert plain.restored(plain.model) == model


@pytest.mark.parametrize(
    "body",
    [
        "s = Sigmoid(x) r = Relu(x) y = Mul(r, s)",  # a gate of something else
        "s = Sigmoid(x) m = Mul(x, s) y = Add(m, s)",  # the gate is read again
        "a = Add(x, one) s = Sigmoid(a) y = Mul(x, s)",  # shifted
        "a = Add(x, two) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
        "a = Div(x, two) e = Erf(a) b = Add(e, one) c = Mul(x, b) y = Mul(c, half)",
        "y = Mul(x, x)",
        "y = Tanh(x)",
        "a = Mul(x, large) s = Sigmoid(a) y = Mul(x, s)",  # a ReLU, nearly
        "a = Mul(x, small) s = Sigmoid(a) y = Mul(x, s)",  # half of x, nearly
        "n = Neg(x) s = Sigmoid(n) y = Mul(x, s)",
        "n = Neg(x) e = Elu(n) y = Neg(e)",
    ],
)
def test_what_is_no_such_activation_is_left_alone(body):
    assert not plainly_spelled(spelled(body)).model.functions


def test_the_same_nodes_elsewhere_call_the_same_function():
    first = "s = Sigmoid(x) a = Mul(x, s) r = Neg(a) t = Sigmoid(r) b = Mul(t, r) p = Softplus(b) q = Tanh(p)"
    model = spelled(f"{first} c = Mul(b, q) d = Sigmoid(c) y = Mul(c, d)")
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == ["Silu", "Neg", "Silu_2", "Mish", "Silu"]
    assert plain.restored(plain.model) == model


def test_what_is_left_of_an_edited_network_is_in_the_spelling_of_the_file():
    body = "s = Sigmoid(x) a = Mul(x, s) t = Sigmoid(a) y = Mul(a, t)"
    plain = plainly_spelled(spelled(body))
    edited = onnx.ModelProto()
    edited.CopyFrom(plain.model)
    edited.graph.node[1].input[0] = edited.graph.node[0].input[0]
    edited.graph.node[0].input[0] = "x"
    made = plain.restored(edited)
    assert [node.op_type for node in made.graph.node] == ["Sigmoid", "Mul"]
    assert not made.functions
    assert_same_function(made, spelled("t = Sigmoid(x) y = Mul(x, t)"))


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 20])
def test_sites_of_any_opset(opset):
    model = parse(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv<pads=[1,1,1,1]>(x, w) s = Sigmoid(h) a = Mul(h, s) "
        "y = Conv(a, v) }",
        opset=opset, w=(6, 3, 3, 3), v=(4, 6, 1, 1),
    )  # fmt: skip
    (site,) = analyze(plainly_spelled(model).model).sites
    assert (site.kind, site.size, site.channels, site.refusal) == ("silu", 384, 6, None)
