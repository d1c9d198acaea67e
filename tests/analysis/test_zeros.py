"""Channels that are zero for all that read them."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.streams import find_streams
from onnxshallow.analysis.zeros import keeps_zero, unneeded_channels
from tests.graphs import parse
from tests.partials import partial

OFF = [1, 0, 1, 0]


def unneeded(body: str, partials: dict[str, object] | None = None, **weights: object) -> list[int]:
    """The channels of r's stream that nobody needs, where channels 1 and 3 of a = Relu(c) are off."""
    text = f"(float[N,3,6,6] x) => (float[N,2,h,w] y) {{ c = Conv(x, w) a = Relu(c) {body} y = Conv(r, v) }}"
    arrays = {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1), "d": (4, 1, 1, 1), "k": (4, 1, 1), "b": (4,), **weights}
    analysis = analyze(parse(text, **arrays))
    given = {"a": partial("c", "a", OFF), **(partials or {})}
    return np.flatnonzero(unneeded_channels(analysis, find_streams(analysis)["a"], given)).tolist()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r = Identity(a)", [1, 3]),
        ("r = MaxPool<kernel_shape=[2,2]>(a)", [1, 3]),
        ("r = GlobalAveragePool(a)", [1, 3]),
        ("r = Conv<group=4>(a, d)", [1, 3]),
        ("r = Conv<group=4>(a, d, b)", []),
        ("r = Add(a, k)", []),
        ("r = Sigmoid(a)", []),
        ("s = Sigmoid(a) r = Add(a, s)", []),
        ("r = Softplus(a)", []),
        ("r = Tanh(a)", [1, 3]),
        ("r = HardSwish(a)", [1, 3]),
        ("r = Add(a, c)", []),
        ("e = Relu(a) r = Add(a, e)", [1, 3]),
        ("t = Sigmoid(c) r = Mul(a, t)", []),
    ],
)
def test_what_keeps_zeros(body, expected):
    assert unneeded(body) == expected


def test_a_later_site_may_silence_more():
    assert unneeded("r = Sigmoid(a)", {"r": None}) == []
    later = partial("n", "r", [0, 0, 1, 1])
    assert unneeded("n = Conv<group=4>(a, d, b) r = Relu(n)", {"r": later}) == [0, 1]


def test_a_kept_sigmoid_makes_something_of_zero():
    text = "n = Conv<group=4>(a, d) r = {}(n)"
    kept = partial("n", "r", [1, 1, 0, 1])
    assert unneeded(text.format("Sigmoid"), {"r": kept}) == [2]
    assert unneeded(text.format("Tanh"), {"r": kept}) == [1, 2, 3]


def test_rows_of_zeros_are_not_needed():
    w = np.ones((4, 3, 1, 1), np.float32)
    w[0] = 0
    assert unneeded("r = Identity(a)", w=w) == [0, 1, 3]


def test_rows_of_zeros_with_a_bias_are_needed():
    text = "(float[N,3,6,6] x) => (float[N,2,6,6] y) { c = Conv(x, w, b) a = Relu(c) y = Conv(a, v) }"
    weights = {"w": np.zeros((4, 3, 1, 1), np.float32), "b": np.float32([1, 0, 1, 0]), "v": (2, 4, 1, 1)}
    analysis = analyze(parse(text, **weights))
    found = unneeded_channels(analysis, find_streams(analysis)["a"], {})
    assert np.flatnonzero(found).tolist() == [1, 3]


def test_a_concat_needs_all_that_it_reads():
    text = """(float[N,3,6,6] x) => (float[N,2,6,6] y) {
        c = Conv(x, w) a = Relu(c) u = Conv(a, v) j = Concat<axis=1>(a, u) y = Conv(j, t)
    }"""
    analysis = analyze(parse(text, w=(4, 3, 1, 1), v=(2, 4, 1, 1), t=(2, 6, 1, 1)))
    found = unneeded_channels(analysis, find_streams(analysis)["a"], {"a": partial("c", "a", OFF)})
    assert not np.any(found)


def test_every_reader_counts():
    text = """(float[N,3,6,6] x) => (float[N,2,6,6] y) {
        c = Conv(x, w) a = Relu(c) u = Conv(c, k) r = Conv(a, v) y = Add(u, r)
    }"""
    analysis = analyze(parse(text, w=(4, 3, 1, 1), v=(2, 4, 1, 1), k=(2, 4, 1, 1)))
    found = unneeded_channels(analysis, find_streams(analysis)["a"], {"a": partial("c", "a", OFF)})
    assert not np.any(found)


@pytest.mark.parametrize(
    ("body", "keeps"),
    [
        ("n = Relu(c)", True),
        ("n = Clip(c, zero, one)", True),
        ("n = Identity(c)", True),
        ("n = MaxPool<kernel_shape=[2,2]>(c)", True),
        ("n = Add(c, c)", True),
        ("n = Add(c, k)", False),
        ("n = Sigmoid(c)", False),
        ("n = Pad(c, pads)", False),
    ],
)
def test_what_makes_zeros_of_zeros(body, keeps):
    weights = {
        "k": (4, 1, 1),
        "zero": np.float32(0),
        "one": np.float32(1),
        "pads": np.array([0, 1, 0, 0, 0, 1, 0, 0]),
    }
    text = f"(float[N,3,6,6] x) => (float[N,c,h,w] n) {{ c = Conv(x, w) {body} }}"
    analysis = analyze(
        parse(
            text,
            w=(4, 3, 1, 1),
            **{name: np.asarray(v) if not isinstance(v, tuple) else v for name, v in weights.items()},
        )
    )
    (node,) = (node for node in analysis.network.nodes if node.outputs[0] == "n")
    assert keeps_zero(analysis, node) is keeps


SILENT = np.array([-1, -1, 0, 2], np.float32)
NO_WEIGHTS = np.zeros((4, 3, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("r = Relu(a)", [0, 1, 2]),
        ("z = MaxPool<kernel_shape=[2,2]>(a) r = Relu(z)", [0, 1, 2]),
        ("z = Relu(a) r = MaxPool<kernel_shape=[2,2]>(z)", [0, 1, 2]),
        ("r = LeakyRelu(a)", [2]),
        ("z = Relu(a) s = Conv<group=4>(z, d) r = Relu(s)", [0, 1, 2]),
        ("z = Relu(a) s = Conv<group=4>(z, d, b) r = Relu(s)", [0, 1, 2]),
        ("z = Relu(a) s = Conv<group=4, pads=[1,1,1,1]>(z, d, b) r = Relu(s)", [0, 1, 2]),
        ("z = Relu(a) r = Conv<group=4>(z, d, b)", [2]),
    ],
)
def test_what_is_one_number_below_zero_is_none_behind_a_relu(body, expected):
    text = f"(float[N,3,6,6] x) => (float[N,2,h,w] y) {{ a = Conv(x, w, b) {body} y = Conv(r, v) }}"
    weights = {"w": NO_WEIGHTS, "v": (2, 4, 1, 1), "d": (4, 1, 1, 1), "b": SILENT}
    model = parse(text, **{name: value for name, value in weights.items() if f" {name}" in text})
    analysis = analyze(model)
    stream = find_streams(analysis)["r"]
    assert np.flatnonzero(unneeded_channels(analysis, stream, {})).tolist() == expected


def test_what_every_reader_weighs_by_zero_is_not_needed():
    one, other = np.ones((2, 4, 1, 1), np.float32), np.ones((1, 4 * 36), np.float32)
    one[:, [0, 2]] = 0
    other[:, :72] = 0
    text = """(float[N,3,6,6] x) => (float[N,2,6,6] y, float[N,1] z) { a = Conv(x, w) r = Relu(a) y = Conv(r, one)
        f = Flatten(r) z = Gemm<transB=1>(f, other) }"""
    analysis = analyze(parse(text, w=(4, 3, 1, 1), one=one, other=other))
    assert np.flatnonzero(unneeded_channels(analysis, find_streams(analysis)["r"], {})).tolist() == [0]
