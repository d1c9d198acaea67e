"""Channels that are zero for all that read them."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.streams import find_streams
from onnxshallow.analysis.zeros import unneeded_channels
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
