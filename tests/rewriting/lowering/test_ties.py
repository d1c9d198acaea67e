"""Which channels share a scale, by the nodes between them."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.rewriting.lowering.ties import Ties
from tests.graphs import parse

WEIGHTS = {"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "k": (4, 1, 1), "one": np.array(1, np.float32)}


def scales_where(text, first, wanted, **weights):
    """The logarithms of the scales of tensors where those of `first` (4,) are as wanted."""
    analysis = analyze(parse("(float[N,3,6,6] x) => (float[N,2,6,6] y) {" + text + "}", **WEIGHTS, **weights))
    ties = Ties(analysis)
    wishes, weight = np.zeros(ties.count), np.full(ties.count, 1e-9)
    wishes[ties.places(first)], weight[ties.places(first)] = wanted, 1
    found = ties.scales.solve(wishes, weight)
    return lambda name: np.round(found[ties.places(name)], 4).tolist()


BEGIN, END = "c = Conv(x, w1) a = Relu(c) ", " y = Conv(r, w3)"
WISH = [1, 2, 3, 4]


@pytest.mark.parametrize(
    "node",
    ["r = Relu(a)", "r = LeakyRelu(a)", "r = PRelu(a, k)", "r = Add(a, k)", "r = Sub(one, a)",
     "r = MaxPool<kernel_shape=[1,1]>(a)", "r = AveragePool<kernel_shape=[1,1]>(a)", "r = Add(a, a)"],
)  # fmt: skip
def test_what_makes_channels_of_the_scale_that_it_reads(node):
    found = scales_where(BEGIN + node + END, "a", WISH, w3=(2, 4, 1, 1))
    assert found("a") == found("r") == WISH
    assert found("x") == [0, 0, 0]
    assert found("y") == [0, 0]


def test_a_square_doubles_and_a_layer_ends_a_scale():
    found = scales_where(BEGIN + "s = Mul(a, a) b = Conv(s, w2) r = Relu(b)" + END, "a", WISH, w3=(2, 4, 1, 1))
    assert found("s") == [2, 4, 6, 8]
    assert found("b") == found("r") == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "node", ["r = Sigmoid(a)", "r = Clip(a, one)", "r = Max(a, one)", "b = Conv(a, w2) r = Mul(a, b)", "r = Exp(a)"]
)
def test_all_others_keep_scale_one(node):
    assert scales_where(BEGIN + node + END, "a", WISH, w3=(2, 4, 1, 1))("a") == [0, 0, 0, 0]


def test_sums_share_the_scales_of_both_sides():
    found = scales_where(BEGIN + "b = Conv(a, w2) r = Add(a, b)" + END, "a", WISH, w3=(2, 4, 1, 1))
    assert found("r") == found("b") == WISH


def test_parts_that_are_joined_again_keep_their_scales():
    text = BEGIN + "p, q = Split<axis=1>(a, sizes) s = Mul(p, p) r = Concat<axis=1>(q, s)" + END
    found = scales_where(text, "a", WISH, w3=(2, 4, 1, 1), sizes=np.array([3, 1]))
    assert found("p") == [1, 2, 3]
    assert found("r") == [4, 2, 4, 6]


def test_gathered_channels_and_those_that_a_pad_adds():
    text = BEGIN + "p = Pad(a, pads) r = Gather<axis=1>(p, order)" + END
    weights = {"w3": (2, 6, 1, 1), "pads": np.array([0, 0, 0, 0, 0, 1, 0, 0]), "order": np.array([4, 3, 4, 0, 2, 1])}
    found = scales_where(text, "a", WISH, **weights)
    assert found("r") == [0, 4, 0, 1, 3, 2]
    padded = scales_where(text.replace("p, order", "a, order"), "a", WISH, **weights | {"order": np.array([1] * 6)})
    assert padded("r") == [2] * 6


def test_a_zero_channel_ties_nothing_together():
    text = BEGIN + "b = Conv(a, w4) p = Pad(a, pads) g = Gather<axis=1>(p, order) r = Add(g, b)" + END
    weights = {"w3": (2, 6, 1, 1), "w4": (6, 4, 1, 1), "pads": np.array([0, 0, 0, 0, 0, 1, 0, 0])}
    found = scales_where(text, "b", [9, 8, 7, 6, 5, 4], order=np.array([4, 3, 4, 0, 2, 1]), **weights)
    assert found("r") == [9, 8, 7, 6, 5, 4]
    assert found("a") == [6, 4, 5, 8]


@pytest.mark.parametrize("flat", ["f = Flatten(a)", "p = GlobalAveragePool(a) f = Flatten(p)"])
def test_flat_elements_have_the_scale_of_their_channel(flat):
    size = 4 * (36 if "(a)" in flat[-3:] else 1)
    text = BEGIN + flat + " g = Gemm<transB=1>(f, w5) h = Unsqueeze(g, axes) y = Expand(h, shape)"
    found = scales_where(text, "a", WISH, w5=(2, size), axes=np.array([2, 3]), shape=np.array([1, 2, 6, 6]))
    assert found("f") == np.repeat(WISH, size // 4).tolist()


def test_what_a_subgraph_reads_keeps_scale_one():
    text = (
        BEGIN
        + """r = If (cond) <then_branch = t () => (float[N,4,6,6] u) { u = Relu(a) },
        else_branch = e () => (float[N,4,6,6] v) { v = Identity(a) }>"""
        + END
    )
    assert scales_where(text, "a", WISH, w3=(2, 4, 1, 1), cond=np.array(True))("a") == [0, 0, 0, 0]


def test_a_layer_too_large_to_be_written_anew_is_not_free(monkeypatch):
    monkeypatch.setattr("onnxshallow.analysis.layers._MOST_WRITTEN", 15)
    found = scales_where(BEGIN + "b = Conv(a, w2) r = Relu(b)" + END, "a", WISH, w3=(2, 4, 1, 1))
    assert found("a") == [0, 0, 0, 0]
