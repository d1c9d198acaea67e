import numpy as np
import onnx
import pytest

from onnxshallow.analysis import Cost, count_cost, find_sites
from onnxshallow.analysis.cost import layer_macs, node_depths
from onnxshallow.model.network import Network
from tests.graphs import parse


def cost(model: onnx.ModelProto) -> Cost:
    network = Network(model)
    return count_cost(network, find_sites(network))


@pytest.mark.parametrize(
    ("text", "shape", "macs"),
    [
        ("(float[N,3,8,8] x) => (float[N,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), 4 * 3 * 9 * 36),
        ("(float[5,3,8,8] x) => (float[5,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), 4 * 3 * 9 * 36),
        ("(float[N,4,8,8] x) => (float[N,4,h,w] y) { y = Conv<group=4>(x, w) }", (4, 1, 3, 3), 4 * 9 * 36),
        ("(float[N,3,8] x) => (float[N,4,h] y) { y = Conv<strides=[2]>(x, w) }", (4, 3, 2), 4 * 3 * 2 * 4),
        ("(float[N,3,4,4] x) => (float[N,4,h,w] y) { y = ConvTranspose(x, w) }", (3, 4, 3, 3), 3 * 4 * 9 * 16),
        ("(float[N,6] x) => (float[N,4] y) { y = Gemm(x, w) }", (6, 4), 24),
        ("(float[7,6] x) => (float[7,4] y) { y = Gemm<transB=1>(x, w) }", (4, 6), 24),
        ("(float[6,7] x) => (float[7,4] y) { y = Gemm<transA=1>(x, w) }", (6, 4), 24),
        ("(float[N,5,6] x) => (float[N,5,4] y) { y = MatMul(x, w) }", (6, 4), 5 * 24),
        ("(float[N,3,H,W] x) => (float[N,4,h,w] y) { y = Conv(x, w) }", (4, 3, 3, 3), None),
    ],
)
def test_layer_macs(text, shape, macs):
    network = Network(parse(text, w=shape))
    assert layer_macs(network, network.nodes[0]) == macs


NET = """(float[N,3,8,8] x) => (float[N,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(a) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
    c = Conv<pads=[1,1,1,1]>(p, w2) k = Clip(c, zero, six) s = Add(k, p) l = LeakyRelu(s)
    f = Flatten(l) y = Gemm(f, w3, b3) }"""
WEIGHTS = dict(w1=(4, 3, 3, 3), b1=(4,), w2=(4, 4, 3, 3), w3=(64, 5), b3=(5,), axes=np.array([1, 2]))


def test_counts_of_a_small_network():
    found = cost(parse(NET, **WEIGHTS, zero=np.zeros((), "f"), six=np.full((), 6, "f")))
    assert found == Cost(
        relus=4 * 64 + 64 + 64,
        relu_nodes=3,
        comparisons=4 * 64 + 2 * 64 + 64 + 3 * 64,
        macs=4 * 3 * 9 * 64 + 4 * 4 * 9 * 16 + 64 * 5,
        params=108 + 4 + 144 + 320 + 5 + 2,
        conv_layers=2,
        linear_layers=3,
        depth=3,
        unknown=(),
        levels=3,
    )


@pytest.mark.parametrize(
    ("nodes", "squares"),
    [
        ("y = Mul(x, x)", 18),
        ("y = Pow(x, two)", 18),
        ("a = Mul(x, x) y = Mul(a, a)", 36),
        ("y = Pow(x, three)", 0),
        ("y = Pow(two, x)", 0),
        ("a = Neg(x) y = Mul(a, x)", 0),
        ("y = Mul(x, two)", 0),
        ("a = Mul(two, two) y = Mul(x, a)", 0),
        ("y = Neg(x) a = Mul(x, x)", 0),
    ],
)
def test_squares_are_what_is_multiplied_by_itself(nodes, squares):
    constants = dict(two=np.full((), 2, "f"), three=np.full((), 3, "f"))
    assert cost(parse(f"(float[N,2,3,3] x) => (float[N,2,3,3] y) {{ {nodes} }}", **constants)).squares == squares


def test_squares_of_unknown_shape_are_named():
    found = cost(parse("(float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Mul(x, x) }"))
    assert (found.squares, found.unknown) == (0, ("y",))


def test_constants_count_as_parameters_but_not_as_layers():
    text = """(float[N,2] x) => (float[N,2] y) {
        k = Constant<value = float[2,2] {1.0, 2.0, 3.0, 4.0}>() i = Constant<value = int64[1] {3}>()
        w = MatMul(k, k) y = MatMul(x, w) }"""
    found = cost(parse(text))
    assert (found.params, found.linear_layers, found.macs, found.depth) == (4, 1, 4, 1)


def test_depth_is_the_longest_path():
    text = """(float[N,4,8,8] x) => (float[N,4,8,8] y) {
        a = Conv(x, w) b = Relu(a) c = Conv(b, w) s = Conv(x, w) t = Add(c, s) y = Relu(t) }"""
    network = Network(parse(text, w=(4, 4, 1, 1)))
    assert node_depths(network) == [1, 1, 2, 1, 2, 2]
    assert cost(network.model).depth == 2
    assert cost(network.model).linear_layers == 3


def test_unknown_sizes_are_named():
    text = "(float[N,3,H,W] x) => (float[N,4,h,w] y) { z = Conv(x, w) y = Relu(z) }"
    model = parse(text, w=(4, 3, 1, 1))
    assert cost(model).unknown == ("z", "y")
    assert (cost(model).macs, cost(model).relus) == (0, 0)
    network = Network(model, {"x": (1, 3, 8, 8)})
    found = count_cost(network, find_sites(network))
    assert (found.macs, found.relus, found.unknown) == (12 * 64, 256, ())


def test_the_batch_does_not_count():
    text = NET.replace("[N,", "[6,")
    weights = dict(WEIGHTS, zero=np.zeros((), "f"), six=np.full((), 6, "f"))
    assert cost(parse(text, **weights)) == cost(parse(NET, **weights))


def test_a_model_with_nothing_to_count():
    assert cost(parse("(float[N,3] x) => (float[N,3] y) { y = Neg(x) }")) == Cost(0, 0, 0, 0, 0, 0, 0, 0, ())


def test_nodes_that_no_output_needs_do_not_count():
    alive = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { a = Conv(x, w) y = Relu(a)"
    dead = "b = Conv(y, w) c = Relu(b) d = MaxPool<kernel_shape=[2,2]>(c) }"
    weight = dict(w=(4, 4, 1, 1))
    assert cost(parse(f"{alive} {dead}", **weight)) == cost(parse(f"{alive} }}", **weight))


@pytest.mark.parametrize(
    ("body", "levels"),
    [
        ("y = Conv(x, w)", 1),
        ("h = Conv(x, w) y = Relu(h)", 1),
        ("h = Conv(x, w) s = Mul(h, h) y = Conv(s, w)", 3),
        ("h = Conv(x, w) g = Conv(h, w) y = Add(h, g)", 2),
        ("h = Conv(x, w) y = GlobalAveragePool(h)", 2),
        ("y = Add(x, x)", 0),
    ],
)
def test_levels_are_the_products_on_the_longest_path(body, levels):
    text = f"(float[N,4,6,6] x) => (float[N,4,h,v] y) {{ {body} }}"
    assert cost(parse(text, w=np.ones((4, 4, 1, 1), "f"))).levels == levels
