import numpy as np
import onnx
import pytest

from onnxshallow.rewriting.lossless import Removed, lossless
from tests.graphs import assert_same_function, parse, positive, signed

NOTHING = Removed(0, 0, 0, 0, 0, 0)


def tidied(text: str, **weights):
    model = parse(text, **weights)
    before = model.SerializeToString()
    made, removed = lossless(model)
    assert model.SerializeToString() == before
    assert_same_function(made, model)
    return [node.op_type for node in made.graph.node], removed, made


def test_what_stands_beside_a_layer_is_folded_into_it():
    text = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
        p = Pad(x, pads) a = Conv(p, w) b = BatchNormalization(a, s, t, m, v) c = Mul(b, k) y = Relu(c) }"""
    weights = dict(w=(4, 3, 3, 3), s=(4,), t=(4,), m=(4,), v=positive("v", (4,)), k=(4, 1, 1))
    operators, removed, made = tidied(text, pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), **weights)
    assert operators == ["Conv", "Relu"]
    assert removed.folded == 3
    assert {tensor.name for tensor in made.graph.initializer} == set(made.graph.node[0].input[1:])


def test_nodes_that_do_nothing_go():
    text = """(float[N,3,8,8] x) => (float[N,3,8,8] y) {
        a = Identity(x) b = Relu(a) c = Cast<to=1>(b) d = Transpose(c) e = Transpose(d) f = Neg(x) y = Abs(e) }"""
    operators, removed, _ = tidied(text)
    assert operators == ["Relu", "Abs"]
    assert removed == Removed(0, 0, 5, 0, 0, 0)


@pytest.mark.parametrize("between", ["Relu", "Identity"])
def test_what_undoes_each_other_goes_when_nothing_is_left_between(between):
    operators, removed, _ = tidied(
        f"""(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ a = Abs(x) h = Reshape(a, flat) r = {between}(h)
        q = Relu(r) k = Reshape(q, whole) y = Conv(k, w) }}""",
        flat=np.array([0, 3, 16]),
        whole=np.array([0, 3, 4, 4]),
        w=(2, 3, 1, 1),
    )
    assert operators == ["Abs", "Conv"]
    assert (removed.settled, removed.idle) == ((2, 2) if between == "Relu" else (1, 3))


def test_outputs_keep_their_names():
    text = "(float[N,3] x) => (float[N,3] y, float[N,3] z) { a = Relu(x) y = Identity(a) z = Identity(x) }"
    operators, removed, _ = tidied(text)
    assert operators == ["Relu", "Identity", "Identity"]
    assert removed == NOTHING


def test_small_constants_are_stored():
    text = "(float[N,3] x) => (float[N,3] y) { h = Add(k, k) s = Sqrt(h) y = Mul(x, s) }"
    operators, removed, _ = tidied(text, k=positive("k", (3,)))
    assert operators == ["Mul"]
    assert (removed.computed, removed.idle, removed.unused) == (1, 1, 1)


def test_what_computes_large_constants_stays():
    text = "(float[N,64,64] x) => (float[N,64,64] y) { h = ConstantOfShape<value=float[1]{2.0}>(s) y = Add(x, h) }"
    operators, removed, _ = tidied(text, s=np.array([64, 64]))
    assert operators == ["ConstantOfShape", "Add"]
    assert removed == NOTHING


def test_quantized_weights_stay_quantized():
    text = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
        f = DequantizeLinear(w, scale, zero) v = Identity(f) y = Conv(x, v) }"""
    w = np.arange(-6, 6, dtype=np.int8).reshape(4, 3, 1, 1)
    scale = np.full((), 0.1, np.float32)
    operators, removed, made = tidied(text, opset=19, ir=9, w=w, scale=scale, zero=np.zeros((), np.int8))
    assert "DequantizeLinear" in operators
    assert removed.computed == 0
    assert {tensor.name for tensor in made.graph.initializer} == {"w", "scale", "zero"}


def test_channels_that_are_zero_go():
    w = signed("w", (6, 3, 3, 3))
    w[[1, 4]] = 0
    text = "(float[N,3,8,8] x) => (float[N,2,6,6] y) { h = Conv(x, w) r = Relu(h) y = Conv(r, v) }"
    _, removed, made = tidied(text, w=w, v=(2, 6, 1, 1))
    assert removed == Removed(0, 0, 0, 2, 0, 0)
    assert {tuple(tensor.dims) for tensor in made.graph.initializer} >= {(2, 4, 1, 1), (4, 3, 3, 3)}


def test_activations_that_let_all_pass_go():
    text = """(float[N,3,8,8] x) => (float[N,4,6,6] y) { a = Relu(x) b = MaxPool<kernel_shape=[2,2]>(a) c = Relu(b)
        d = Conv(c, w) e = Relu(d) f = Sigmoid(e) g = Clip(f, zero, one) h = LeakyRelu(g) y = Neg(h) }"""
    numbers = dict(zero=np.zeros((), np.float32), one=np.ones((), np.float32))
    operators, removed, _ = tidied(text, w=np.abs(signed("w", (4, 3, 2, 2))), **numbers)
    assert operators == ["Relu", "MaxPool", "Conv", "Sigmoid", "Neg"]
    assert (removed.settled, removed.idle) == (4, 0)
    assert "4 activations that always or never let pass what they read" in removed.in_words


def test_activations_that_let_nothing_pass_take_their_channels_along():
    text = """(float[N,3,8,8] x) => (float[N,2,8,8] y) { a = Sigmoid(x) b = Conv(a, w) c = Relu(b) y = Conv(c, v) }"""
    operators, removed, made = tidied(text, w=-np.abs(signed("w", (6, 3, 1, 1))), v=(2, 6, 1, 1))
    assert operators == ["Sigmoid", "Conv", "Conv"]
    assert (removed.settled, removed.channels) == (1, 5)
    assert {tuple(tensor.dims) for tensor in made.graph.initializer} >= {(1, 3, 1, 1), (2, 1, 1, 1)}


def test_what_may_pass_in_part_stays():
    text = (
        "(float[N,3] x) => (float[N,3] y) { a = Relu(x) b = Sub(a, one) c = Relu(b) d = Clip(c, , half) y = Neg(d) }"
    )
    _, removed, _ = tidied(text, one=np.ones((), np.float32), half=np.full((), 0.5, np.float32))
    assert removed == NOTHING


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_denormal_weights_become_zero(kind):
    w = signed("w", (4, 3)).astype(kind)
    w[0] = np.finfo(kind).tiny / 16
    w[1, 0] = np.finfo(kind).tiny
    name = "float" if kind is np.float32 else "double"
    _, removed, made = tidied(f"({name}[N,3] x) => ({name}[N,4] y) {{ y = Gemm<transB=1>(x, w) }}", w=w)
    assert removed == Removed(0, 0, 0, 0, 3, 0)
    (tensor,) = made.graph.initializer
    left = onnx.numpy_helper.to_array(tensor)
    assert not left[0].any()
    np.testing.assert_array_equal(left[1:], w[1:])


def test_a_denormal_number_that_stands_alone_stays():
    """As zero it would make an infinity of the logarithm, which nobody would have looked at."""
    text = "(float[N,3] x) => (float[N,3] y) { s = Softmax(x) a = Add(s, epsilon) y = Log(a) }"
    _, removed, made = tidied(text, epsilon=np.array([0, 1e-45, 0], np.float32))
    assert removed == NOTHING
    assert onnx.numpy_helper.to_array(made.graph.initializer[0]).tolist()[1] > 0


def test_weights_that_are_computed_or_listed_as_inputs_stay():
    text = "(float[N,3,8,8] x) => (float[N,4,6,6] y) { h = Conv(x, w) y = BatchNormalization(h, s, s, s, v) }"
    model = parse(text, as_inputs=True, w=(4, 3, 3, 3), s=(4,), v=positive("v", (4,)))
    made, removed = lossless(model)
    assert removed == NOTHING
    assert [node.op_type for node in made.graph.node] == ["Conv", "BatchNormalization"]


def test_a_model_of_old_lists_its_weights_as_inputs_still():
    text = "(float[N,3,8,8] x) => (float[N,4,6,6] y) { h = Conv(x, w) y = BatchNormalization(h, s, s, s, v) }"
    model = parse(text, opset=8, ir=3, as_inputs=True, w=(4, 3, 3, 3), s=(4,), v=positive("v", (4,)))
    made, removed = lossless(model)
    assert removed.folded == 1
    onnx.checker.check_model(made, full_check=True)
    stored = {tensor.name for tensor in made.graph.initializer}
    assert {value.name for value in made.graph.input} == {"x", *stored}
