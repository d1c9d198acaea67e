import math

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.ranges import Ranges
from onnxshallow.model.spelling.clamps import Clamp
from tests.graphs import parse

INF = math.inf
CONSTANTS = dict(
    six=np.full((), 6, np.float32), half=np.full((), 0.5, np.float32), negative=np.full((), -1, np.float32),
    above=np.ones((4, 3, 3, 3), np.float32), below=-np.ones((4, 3, 1, 1), np.float32),
    mixed=np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1).repeat(4, 0), b=np.array([1, 2, 3, 4], np.float32),
)  # fmt: skip


def range_of(body: str, kind: str = "float") -> Clamp:
    text = f"({kind}[N,3,6,6] x) => ({kind}[N,c,h,w] y) {{ r = Relu(x) s = Sigmoid(x) {body} y = Identity(z) }}"
    constants = {name: value for name, value in CONSTANTS.items() if f" {name})" in body or f" {name}," in body}
    return Ranges(analyze(parse(text, **constants))).of("y")


@pytest.mark.parametrize(
    ("body", "low", "high"),
    [
        ("z = Neg(r)", -INF, 0),
        ("z = MaxPool<kernel_shape=[2,2]>(r)", 0, INF),
        ("z = Clip(r, , six)", 0, 6),
        ("z = Clip(x, half, six)", 0.5, 6),
        ("z = Tanh(x)", -1, 1),
        ("z = Concat<axis=1>(s, r)", 0, INF),
        ("z = Concat<axis=1>(s, x)", -INF, INF),
        ("z = Add(s, r)", 0, INF),
        ("z = Add(s, half)", 0.5, 1.5),
        ("z = Mul(s, r)", 0, INF),
        ("z = Mul(x, x)", 0, INF),
        ("z = Mul(x, r)", -INF, INF),
        ("z = Conv<pads=[1,1,1,1]>(r, above, b)", 1, INF),
        ("z = Conv<pads=[1,1,1,1]>(s, above, b)", 1, 31),
        ("z = Conv(s, above)", 0, 27),
        ("z = Conv(r, below)", -INF, 0),
        ("z = Conv(s, mixed)", -1, 1),
        ("z = Conv(x, above, b)", -INF, INF),
        ("z = Sub(r, half)", -0.5, INF),
        ("z = Sub(s, r)", -INF, 1),
    ],
)
def test_ranges(body, low, high):
    found = range_of(body)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert found.low <= low
    assert found.high >= high


def test_padding_is_a_zero_among_what_is_read():
    assert range_of("c = Clip(x, half, six) z = Conv(c, above)").low == pytest.approx(13.5, abs=0.01)
    assert range_of("c = Clip(x, half, six) z = Conv<pads=[1,1,1,1]>(c, above)").low == pytest.approx(0, abs=0.03)


def test_nothing_is_said_where_rounding_may_cross_zero():
    assert range_of("c = Clip(x, half, six) d = Add(c, negative) e = Add(d, half) z = Identity(e)").low < 0
