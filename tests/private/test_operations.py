import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.private.operations import LinearSize, count_operations
from tests.graphs import parse
from tests.networks import build


def operations(text, **weights):
    return count_operations(analyze(parse(text, **weights)))


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("(float[N,3,8,8] x) => (float[N,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), (36 * 9 * 3, 108, 36 * 4)),
        ("(float[5,3,8,8] x) => (float[5,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), (36 * 9 * 3, 108, 36 * 4)),
        ("(float[N,4,8,8] x) => (float[N,4,h,w] y) { y = Conv<group=4>(x, w) }", (4, 1, 3, 3),
         (36 * 9 * 4, 36, 36 * 4)),
        ("(float[N,3,8] x) => (float[N,4,h] y) { y = Conv<strides=[2]>(x, w) }", (4, 3, 2), (4 * 2 * 3, 24, 16)),
        ("(float[N,6] x) => (float[N,4] y) { y = Gemm(x, w) }", (6, 4), (6, 24, 4)),
        ("(float[7,6] x) => (float[7,4] y) { y = Gemm<transB=1>(x, w) }", (4, 6), (6, 24, 4)),
        ("(float[N,5,6] x) => (float[N,5,4] y) { y = MatMul(x, w) }", (6, 4), (30, 24, 20)),
    ],
)  # fmt: skip
def test_a_linear_layer_is_a_product_of_matrices(text, shape, expected):
    found = operations(text, w=shape)
    assert found.linear == (LinearSize("y", *expected),)
    assert found.comparisons == found.steps == found.squares == found.products == 0
    assert found.uncounted == found.unknown == ()


def test_what_is_folded_into_a_layer_costs_nothing_of_its_own():
    text = """(float[N,2,4,4] x) => (float[N,3,4,4] y) {
        a = Conv(x, w) b = BatchNormalization(a, s, t, t, v) y = Mul(b, c) }"""
    found = operations(text, w=(3, 2, 1, 1), s=(3,), t=(3,), v=np.ones(3, "f"), c=(3, 1, 1))
    assert found.linear == (LinearSize("a", 32, 6, 48),)


def test_a_normalization_on_its_own_is_a_layer_with_a_number_a_channel():
    text = "(float[N,3,4,4] x) => (float[N,3,4,4] y) { y = BatchNormalization(x, s, t, t, v) }"
    found = operations(text, s=(3,), t=(3,), v=np.ones(3, "f"))
    assert found.linear == (LinearSize("y", 48, 3, 48),)


def test_comparisons_come_in_steps():
    text = """(float[N,1,8,8] x) => (float[N,1,4,4] y) {
        r = Relu(x) c = Clip(r, zero, six) p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(c)
        y = LeakyRelu(p) }"""
    found = operations(text, zero=np.zeros((), "f"), six=np.full((), 6, "f"))
    assert found.comparisons == 64 + 2 * 64 + 8 * 16 + 16
    assert found.steps == 1 + 2 + 4 + 1
    assert found.uncounted == ()


def test_squares_and_products_are_told_apart():
    text = """(float[N,2,3,3] x) => (float[N,2,3,3] y) {
        a = Relu(x) s = Mul(a, a) q = Pow(s, two) y = Mul(q, x) }"""
    found = operations(text, two=np.full((), 2, "f"))
    assert (found.squares, found.products, found.factors) == (36, 18, 36)
    assert found.uncounted == ()


def test_a_factor_that_is_broadcast_is_opened_once():
    text = "(float[N,2,3,3] x) => (float[N,2,3,3] y) { g = GlobalAveragePool(x) y = Mul(x, g) }"
    found = operations(text)
    assert (found.products, found.factors) == (18, 18 + 2)


def test_weights_that_are_listed_as_inputs_are_weights():
    text = "(float[N,2,3,3] x) => (float[N,4,3,3] y) { y = Conv(x, w) }"
    found = count_operations(analyze(parse(text, w=(4, 2, 1, 1), as_inputs=True)))
    assert found.linear == (LinearSize("y", 18, 8, 36),)


def test_what_is_not_priced_is_listed_by_operator():
    text = """(float[N,2,6,6] x) => (float[N,3] y) {
        g = Sigmoid(x) t = Tanh(g) h = Sigmoid(t) c = Pow(h, three) d = ConvTranspose(c, w) p = GlobalAveragePool(d)
        f = Flatten(p) y = Softmax(f) }"""
    found = operations(text, three=np.full((), 3, "f"), w=(2, 3, 3, 3))
    assert found.uncounted == (("ConvTranspose", 1), ("Pow", 1), ("Sigmoid", 2), ("Softmax", 1), ("Tanh", 1))


def test_matrices_that_are_both_computed_are_listed():
    found = operations("(float[N,4,4] x) => (float[N,4,4] y) { r = Relu(x) y = MatMul(r, x) }")
    assert found.linear == ()
    assert found.uncounted == (("MatMul", 1),)


def test_what_runs_for_no_output_costs_nothing():
    found = operations("(float[N,2,4,4] x) => (float[N,2,4,4] y) { y = Relu(x) z = Sigmoid(x) q = Mul(x, x) }")
    assert (found.comparisons, found.squares, found.uncounted) == (32, 0, ())


def test_open_shapes_are_said_to_be_unknown():
    text = "(float[N,3,H,W] x) => (float[N,4,h,w] y) { a = Conv(x, w) r = Relu(a) y = Mul(r, r) }"
    assert set(operations(text, w=(4, 3, 3, 3)).unknown) == {"a", "r", "y"}
    known = count_operations(analyze(build(text, w=(4, 3, 3, 3)), {"x": (1, 3, 5, 5)}))
    assert known.unknown == ()
    assert known.comparisons == known.squares == 36
