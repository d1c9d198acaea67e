import numpy as np
import pytest

from onnxshallow.analysis.others import other_activations
from onnxshallow.model.network import Network
from tests.graphs import parse


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("s = Sigmoid(x) a = Mul(x, s) t = Sigmoid(a) y = Mul(a, t)", ("2 Sigmoid-gated activations",)),
        ("s = HardSigmoid(x) y = Mul(s, x)", ("1 HardSigmoid-gated activation",)),
        ("s = Sigmoid(x) y = Mul(s, two)", ("1 Sigmoid",)),
        ("a = Tanh(x) b = Elu(a) c = Elu(b) d = Relu(c) y = Neg(d)", ("2 Elu", "1 Tanh")),
        ("a = Shrink(x) y = Neg(a)", ("1 Shrink",)),
        ("y = Relu(x)", ()),
        ("y = Neg(x) z = Tanh(y)", ()),
        ("k = Tanh(two) y = Mul(x, k)", ()),
    ],
)
def test_activations_that_are_no_sites_are_named(body, said):
    model = parse(f"(float[N,3] x) => (float[N,3] y) {{ {body} }}", two=np.full((), 2, np.float32))
    assert other_activations(Network(model)) == said


def test_those_of_onnxruntime_are_named_too():
    text = "(float[N,3] x) => (float[N,3] y) { y = com.microsoft.Gelu(x) }"
    assert other_activations(Network(parse(text, domains=["com.microsoft"]))) == ("1 Gelu",)


def test_those_in_branches_and_loops_are_named_too():
    text = """(float[N,3] x, bool q, int64 n) => (float[N,3] y) {
        a = If(q) <then_branch = t () => (float[N,3] k) { s = Sigmoid(x) k = Mul(x, s) },
                   else_branch = e () => (float[N,3] l) { l = Identity(x) }>
        y = Loop(n, , a) <body = b (int64 i, bool c, float[N,3] u) => (bool d, float[N,3] v) {
            d = Identity(c) v = Tanh(u) }> }"""
    assert other_activations(Network(parse(text))) == ("1 Silu", "1 Tanh")


def test_those_that_are_attributes_of_a_layer_are_named_too():
    text = '(float[N,3,4,4] x) => (float[N,2,4,4] y) { y = com.microsoft.FusedConv<activation="Gelu">(x, w) }'
    assert other_activations(Network(parse(text, domains=["com.microsoft"], w=(2, 3, 1, 1)))) == (
        "1 Gelu in FusedConv",
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("m = Max(p, q)", ("1 Max",)),
        ("k = Min(p, q) m = Abs(k)", ("1 Min", "1 Abs")),
        ("k = Sign(p) m = Sin(k)", ("1 Sign", "1 Sin")),
        ("k = Greater(p, two) m = Where(k, p, q)", ("1 Greater",)),
        ("k = Less(two, p) l = Cast<to=1>(k) m = Mul(l, p)", ("1 Less",)),
        ("k = Cast<to=7>(p) l = Cast<to=7>(q) n = Max(k, l) m = Cast<to=1>(n)", ()),
        ("m = Max(p, two)", ()),
    ],
)
def test_what_bends_before_a_layer_is_named(body, said):
    model = parse(
        f"""(float[N,4,5,5] x) => (float[N,2,5,5] y) {{ p, q = Split<axis=1, num_outputs=2>(x) {body}
        k2 = Conv(m, w) y = Max(k2, q) }}""",
        opset=18,
        two=np.full((), 2, np.float32),
        w=(2, 2, 1, 1),
    )
    assert other_activations(Network(model)) == said


@pytest.mark.parametrize(
    ("body", "zero", "said"),
    [
        ("h = Gemm(x, w) q = QuantizeLinear(h, scale, zero)", np.uint8(0), ("1 Relu in QuantizeLinear",)),
        ("h = Gemm(x, w) q = QuantizeLinear(h, scale)", None, ("1 Relu in QuantizeLinear",)),
        ("h = Gemm(x, w) q = QuantizeLinear(h, scale, zero)", np.int8(-128), ("1 Relu in QuantizeLinear",)),
        ("h = Gemm(x, w) q = QuantizeLinear(h, scale, zero)", np.int8(0), ()),
        ("h = Gemm(x, w) q = QuantizeLinear(h, scale, zero)", np.uint8(3), ()),
        (
            "g = Gemm(x, w) f = Gemm(x, w) h = Add(g, f) q = QuantizeLinear(h, scale, zero)",
            np.uint8(0),
            ("1 Relu in QuantizeLinear",),
        ),
        ("g = Gemm(x, w) h = Add(g, scale) q = QuantizeLinear(h, scale, zero)", np.uint8(0), ()),
        ("g = Gemm(x, w) h = Relu(g) q = QuantizeLinear(h, scale, zero)", np.uint8(0), ()),
    ],
)
def test_what_quantizers_cut_off_is_named(body, zero, said):
    constants = dict(scale=np.array(0.1, np.float32), w=(3, 2), **({} if zero is None else {"zero": np.array(zero)}))
    last = "y = DequantizeLinear(q, scale)" if zero is None else "y = DequantizeLinear(q, scale, zero)"
    model = parse(f"(float[N,3] x) => (float[N,2] y) {{ {body} {last} }}", **constants)
    assert other_activations(Network(model)) == said
