"""Which tensors share an order of channels, and whether it may change."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.streams import Stream, find_streams
from tests.graphs import parse

WEIGHTS = {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1), "d": (4, 1, 1, 1), "g": (4, 2, 1, 1), "k": (4, 1, 1), "row": (6,)}


def streams(body: str, *, opset: int = 17, **weights: object) -> dict[str, Stream]:
    """The free streams of a network that begins with 4 channels in c and ends with a 1x1 convolution of r."""
    text = f"(float[N,3,6,6] x) => (float[N,2,h,w] y) {{ c = Conv(x, w) {body} y = Conv(r, v) }}"
    return find_streams(analyze(parse(text, opset=opset, **{**WEIGHTS, **weights})))


def together(body: str, **options: object) -> set[str]:
    """The tensors in one stream with c; none where they are fixed."""
    found = streams(body, **options).get("c")
    return set() if found is None else set(found.tensors)


TIES = [
    "r = Relu(c)",
    "r = LeakyRelu(c)",
    "r = PRelu(c, k)",
    "r = PRelu(c, row)",
    "r = Add(c, k)",
    "r = Div(c, k)",
    "r = Mul(c, row)",
    "r = Mul(c, c)",
    "r = MaxPool<kernel_shape=[2,2]>(c)",
    "r = GlobalAveragePool(c)",
    "r = ReduceMean<axes=[2,3]>(c)",
    "r = Slice(c, ends, starts, axes)",
    "p = Pad(c, pads) r = Tanh(p)",
    "r = Resize(c, , scales)",
    "p = Dropout(c) r = Tanh(p)",
]
CONSTANTS = {
    "starts": np.array([4, 4]), "ends": np.array([0, 0]), "axes": np.array([2, 3]),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "channel_pads": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
    "scales": np.array([1, 1, 2, 2], np.float32), "sizes": np.array([1, 4, 9, 9]), "rows": np.array([-1, 36]),
}  # fmt: skip


@pytest.mark.parametrize("body", TIES)
def test_nodes_that_keep_channels_apart(body):
    # the activation keeps a tied node from being taken into the first layer
    body = f"a = Relu(c) {body.replace('(c', '(a').replace(', c)', ', a)')}"
    assert together(body, **CONSTANTS) == {"c", "a", "r"} | ({"p"} if "p = " in body else set())


FIXED = [
    "r = Conv<group=2>(c, g)",
    "r = Softmax<axis=1>(c)",
    "r = Transpose<perm=[0,1,3,2]>(c)",
    "r = Resize(c, , , sizes)",
    "b = Concat<axis=2>(c, c) r = Slice(b, zero, four, one)",
    "r = Concat<axis=1>(c, few)",
    "i = Reshape(c, rows) j = Transpose(i) k2 = Transpose(j) r = Reshape(k2, back)",
]


@pytest.mark.parametrize("body", FIXED)
def test_nodes_that_fix_the_order(body):
    more = {"zero": np.array([0]), "four": np.array([4]), "one": np.array([1]), "back": np.array([-1, 4, 6, 6])}
    more |= {"few": np.ones((1, 4, 6, 6), np.float32)}
    assert together(body, **CONSTANTS, **more) == set()


def test_a_dense_layer_ends_a_stream():
    found = streams("m = Relu(c) n = Conv(m, u) r = Relu(n)", u=(4, 4, 1, 1))
    assert (set(found["c"].tensors), set(found["n"].tensors)) == ({"c", "m"}, {"n", "r"})
    assert "x" not in found
    assert "y" not in found


def test_depthwise_layers_and_normalizations_go_on():
    body = "m = Relu(c) n = Conv<group=4>(m, d) o = Relu(n) p = Sigmoid(o) r = BatchNormalization(p, s, s, s, s)"
    assert together(body, s=np.ones(4, np.float32)) == {"c", "m", "n", "o", "p", "r"}


def test_sums_tie_long_chains_whatever_their_order():
    body = """a = Relu(c) b = Sigmoid(a) e = Conv(x, w2) f = Relu(e) h = Conv(x, w3) i = Add(f, h)
              j = Mul(i, b) m = Add(h, e) n = Relu(m) o = Add(n, j) r = Relu(o)"""
    assert together(body, w2=(4, 3, 1, 1), w3=(4, 3, 1, 1)) == set("cabefhijmnor")


def test_one_channel_that_serves_all_has_no_order():
    assert together("e = Conv(x, u) r = Mul(c, e)", u=(1, 3, 1, 1)) == {"c", "r"}


def test_outputs_and_bodies_of_conditions_fix_the_order():
    text = "(float[N,3,6,6] x) => (float[N,2,6,6] y, float[N,4,6,6] r) { c = Conv(x, w) r = Relu(c) y = Conv(r, v) }"
    assert find_streams(analyze(parse(text, **WEIGHTS))) == {}


def test_flattened_channels_count_as_blocks():
    text = "(float[N,3,6,6] x) => (float[N,2] y) { c = Conv(x, w) r = Relu(c) f = Flatten(r) y = Gemm(f, u) }"
    found = find_streams(analyze(parse(text, **WEIGHTS, u=(144, 2))))
    assert (set(found["f"].tensors), found["f"].channels) == ({"c", "r", "f"}, 4)


def test_a_pad_that_adds_channels_ends_a_stream():
    found = streams("a = Relu(c) p = Pad(a, channel_pads) r = Tanh(p)", v=(2, 5, 1, 1), **CONSTANTS)
    assert (set(found["c"].tensors), found["c"].channels) == ({"c", "a"}, 4)
    assert (set(found["r"].tensors), found["r"].channels) == ({"p", "r"}, 5)


def test_a_concat_ends_the_streams_that_it_joins():
    found = streams("a = Relu(c) e = Sigmoid(x) p = Concat<axis=-3>(a, e) r = Tanh(p)", v=(2, 7, 1, 1))
    assert (set(found["c"].tensors), set(found["r"].tensors), found["r"].channels) == ({"c", "a"}, {"p", "r"}, 7)
    assert "e" not in found


def test_indices_of_a_pooling_fix_the_order():
    text = """(float[N,3,6,6] x) => (float[N,2,5,5] y, int64[N,4,5,5] i) {
        c = Conv(x, w) a = Relu(c) r, i = MaxPool<kernel_shape=[2,2]>(a) y = Conv(r, v)
    }"""
    assert "c" not in find_streams(analyze(parse(text, **WEIGHTS)))
