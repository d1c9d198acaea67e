import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.private.operations import Matrices, count_operations
from tests.graphs import parse
from tests.networks import build


def operations(text, **weights):
    return count_operations(analyze(parse(text, **weights)))


def done(found, *kinds):
    """Kind, elements and steps of the operations."""
    return [(each.kind, each.made, each.steps) for each in (found.of(*kinds) if kinds else found.all)]


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("(float[N,3,8,8] x) => (float[N,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), (36, 27, 4)),
        ("(float[5,3,8,8] x) => (float[5,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), (36, 27, 4)),
        ("(float[N,4,8,8] x) => (float[N,4,h,w] y) { y = Conv<group=4>(x, w) }", (4, 1, 3, 3), (36, 9, 1, 4)),
        ("(float[N,4,8,8] x) => (float[N,6,h,w] y) { y = Conv<group=2>(x, w) }", (6, 2, 3, 3), (36, 18, 3, 2)),
        ("(float[N,3,8] x) => (float[N,4,h] y) { y = Conv<strides=[2]>(x, w) }", (4, 3, 2), (4, 6, 4)),
        ("(float[N,6] x) => (float[N,4] y) { y = Gemm(x, w) }", (6, 4), (1, 6, 4)),
        ("(float[7,6] x) => (float[7,4] y) { y = Gemm<transB=1>(x, w) }", (4, 6), (1, 6, 4)),
        ("(float[N,5,6] x) => (float[N,5,4] y) { y = MatMul(x, w) }", (6, 4), (5, 6, 4)),
    ],
)
def test_a_linear_layer_is_a_product_of_matrices(text, shape, expected):
    found = operations(text, w=shape)
    (layer,) = found.all
    assert (layer.kind, layer.matrices) == ("linear", Matrices(*expected))
    assert layer.made == layer.matrices.made
    assert found.comparisons == found.steps == found.squares == found.products == 0
    assert found.uncounted == found.unknown == ()


def test_matrices_are_counted_by_hand():
    layer = Matrices(36, 9, 2, groups=4)
    assert (layer.opened, layer.made, layer.macs) == (4 * (36 * 9 + 9 * 2), 4 * 36 * 2, 4 * 36 * 2 * 9)


def test_what_is_folded_into_a_layer_costs_nothing_of_its_own():
    text = """(float[N,2,4,4] x) => (float[N,3,4,4] y) {
        a = Conv(x, w) b = BatchNormalization(a, s, t, t, v) y = Mul(b, c) }"""
    found = operations(text, w=(3, 2, 1, 1), s=(3,), t=(3,), v=np.ones(3, "f"), c=(3, 1, 1))
    assert done(found) == [("linear", 48, 1)]


def test_a_normalization_on_its_own_is_a_factor_a_channel():
    text = "(float[N,3,4,4] x) => (float[N,3,4,4] y) { y = BatchNormalization(x, s, t, t, v) }"
    assert done(operations(text, s=(3,), t=(3,), v=np.ones(3, "f"))) == [("factor", 48, 1)]
    assert done(operations(text, s=np.full(3, 2, "f"), t=(3,), v=np.ones(3, "f"))) == [("scale", 48, 1)]


@pytest.mark.parametrize(
    ("node", "kind"),
    [("Mul(x, w)", "factor"), ("Mul(w, x)", "factor"), ("Div(x, w)", "factor"), ("Mul(x, two)", "scale"),
     ("Div(x, two)", "scale"), ("Mul(x, x)", "square"), ("Mul(x, n)", "product")],
)  # fmt: skip
def test_factors_scales_and_products_are_told_apart(node, kind):
    text = "(float[N,2,3,3] x) => (float[N,2,3,3] y) { n = Neg(x) y = " + node + " }"
    found = operations(text, w=np.arange(1, 10, dtype="f").reshape(3, 3), two=np.full((), 2, "f"))
    assert done(found) == [(kind, 18, 1)]
    assert found.uncounted == ()


@pytest.mark.parametrize(
    ("node", "made"),
    [("GlobalAveragePool(x)", 2), ("AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", 8),
     ("ReduceMean<axes=[2,3]>(x)", 2)],
)  # fmt: skip
def test_an_average_is_divided_by_how_many_were_summed(node, made):
    found = operations("(float[N,2,4,4] x) => (float[N,2,h,w] y) { y = " + node + " }")
    assert done(found) == [("scale", made, 1)]


def test_slopes_multiply_what_a_relu_takes_away():
    text = "(float[N,2,3,3] x) => (float[N,2,3,3] y) { l = LeakyRelu(x) p = PRelu(l, s) y = PRelu(p, one) }"
    found = operations(text, s=np.array([[[0.5]], [[0.25]]], "f"), one=np.full((1,), 0.1, "f"))
    assert done(found) == [
        ("comparison", 18, 1), ("scale", 18, 1), ("comparison", 18, 1), ("factor", 18, 1), ("comparison", 18, 1),
        ("scale", 18, 1),
    ]  # fmt: skip
    masks = operations("(float[N,2,3,3] x) => (float[N,2,3,3] y) { y = PRelu(x, s) }",
                       s=np.array([[[0]], [[1]]], "f"))  # fmt: skip
    assert done(masks) == [("comparison", 9, 1)]


def test_hard_functions_and_extremes_are_comparisons():
    text = """(float[N,2,3,3] x) => (float[N,2,3,3] y) {
        a = HardSwish(x) b = HardSigmoid(a) c = Clip(b, low, high) y = Max(c, x) }"""
    found = operations(text, low=np.full((), -1, "f"), high=np.full((), 1, "f"))
    hard = [("scale", 18, 1), ("comparison", 36, 2)]
    assert done(found) == [*hard, ("product", 18, 1), *hard, ("comparison", 36, 2), ("comparison", 18, 1)]


def test_hard_functions_before_a_layer_cost_the_same():
    text = "(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ h = {}(x) y = Conv(h, w) }}"
    swish = [("comparison", 96, 2), ("scale", 48, 1), ("product", 48, 1)]
    assert done(operations(text.format("HardSwish"), w=(2, 3, 1, 1)))[:-1] == swish
    assert done(operations(text.format("HardSigmoid"), w=(2, 3, 1, 1)))[:-1] == swish[:2]


def test_smooth_activations_are_functions_and_products():
    found = operations("(float[N,3] x) => (float[N,2] y) { h = Gelu(x) y = Gemm(h, w) }", w=(3, 2), opset=20)
    assert done(found) == [("scale", 3, 1), ("erf", 3, 1), ("scale", 3, 1), ("product", 3, 1), ("linear", 2, 1)]
    assert (found.smooth, found.products, found.uncounted) == (3, 3, ())
    text = "(float[N,2,3,3] x) => (float[N,2,3,3] y) { s = Sigmoid(x) h = Mul(x, s) g = Elu(h) y = Conv(g, w) }"
    found = operations(text, w=(2, 2, 1, 1))
    elu = [("comparison", 18, 1), ("exp", 18, 1), ("scale", 18, 1)]
    assert done(found) == [("sigmoid", 18, 1), ("product", 18, 1), *elu, ("linear", 18, 1)]


def test_what_no_function_makes_is_not_priced():
    found = operations("(float[N,3] x) => (float[N,2] y) { h = Softsign(x) y = Gemm(h, w) }", w=(3, 2))
    assert found.uncounted == (("softsign", 1),)
    assert done(found) == [("linear", 2, 1)]


def test_a_transposed_convolution_has_a_row_for_each_place_of_its_output():
    text = "(float[N,2,4,4] x) => (float[N,3,h,w] y) { y = ConvTranspose<strides=[2,2]>(x, w) }"
    (layer,) = operations(text, w=(2, 3, 3, 3)).all
    assert layer.matrices == Matrices(81, 18, 3)


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
    assert (found.squares, found.products) == (36, 18)
    assert found.uncounted == ()


def test_weights_that_are_listed_as_inputs_are_weights():
    text = "(float[N,2,3,3] x) => (float[N,4,3,3] y) { y = Conv(x, w) }"
    found = count_operations(analyze(parse(text, w=(4, 2, 1, 1), as_inputs=True)))
    assert found.all[0].matrices == Matrices(9, 2, 4)


def test_what_is_not_priced_is_listed_by_operator():
    text = """(float[N,2,6,6] x) => (float[N,2] y) {
        g = Sigmoid(x) t = Tanh(g) h = Sigmoid(t) c = Pow(h, three) d = Div(c, t) p = GlobalAveragePool(d)
        f = Flatten(p) y = Softmax(f) }"""
    found = operations(text, three=np.full((), 3, "f"))
    assert found.uncounted == (("Div", 1), ("Pow", 1), ("Softmax", 1))


def test_matrices_that_are_both_computed_are_listed():
    found = operations("(float[N,4,4] x) => (float[N,4,4] y) { r = Relu(x) y = MatMul(r, x) }")
    assert found.of("linear") == ()
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
