"""What the tests of lowering share: networks of which something stays in part, and what becomes of them."""

import numpy as np
import onnx

from onnxshallow.analysis import analyze
from onnxshallow.analysis.partial import Partial
from onnxshallow.model.session import Session
from onnxshallow.rewriting.lowering.lower import lower
from tests.graphs import assert_close, assert_same_function, feeds, frozen, parse, run_plain
from tests.partials import intermediate, partial

CHAIN = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
    h = Conv<pads=[1,1,1,1]>(x, w1, b1)  r = Relu(h)  y = Conv<pads=[1,1,1,1]>(r, w2, b2)
}"""


WEIGHTS = {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (4, 5, 3, 3), "b2": (4,)}


KEPT = [1, 0, 1, 0, 0]


MIXED = {"square": [0, 0.2, 0, 0, 0], "linear": [0, 0.5, 0, 0.7, 1], "constant": [0, 0.3, 0, 0.4, 0]}


def chain(**options) -> onnx.ModelProto:
    return parse(CHAIN, **WEIGHTS, **options)


def lowered(model, partials, form="split", *, relus=None, **options) -> onnx.ModelProto:
    """The lowered model, after all checks that every lowered model must pass."""
    before = intermediate(model, partials)
    frozen_before = frozen(before.network.model)
    result = lower(before, partials, form)
    assert frozen(before.network.model) == frozen_before
    assert frozen(lower(before, partials, form)) == frozen(result)
    assert_same_function(result, before.network.model, **options)
    values = feeds(model)
    for optimized, plain in zip(Session(result).run(values), run_plain(result, values), strict=True):
        assert_close(optimized, plain)
    kept = {p.output: np.mean(p.kept) for p in partials}
    expected = sum(round((site.size or 0) * kept.get(site.output, 1.0)) for site in analyze(model).sites)
    assert analyze(result).cost.relus == (expected if relus is None else relus)
    return result


def other(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op)


def value(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name)


def residual_partials(*masks, **values) -> list[Partial]:
    names = [("s", "r0"), ("h1", "r1"), ("s1", "r2"), ("h3", "r3"), ("s2", "r4")]
    return [partial(*name, mask, **values) for name, mask in zip(names, masks, strict=True)]


MOBILE = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
    a = Conv(x, w1, b1)  r = Clip(a, zero, six)
    d = Conv<group=5, pads=[1,1,1,1]>(r, wd, bd)  s = Clip(d, zero, six)  y = Conv(s, w2, b2)
}"""


MOBILE_WEIGHTS = {
    "w1": (5, 3, 1, 1), "b1": (5,), "wd": (5, 1, 3, 3), "bd": (5,), "w2": (4, 5, 1, 1), "b2": (4,),
    "zero": np.array(0, np.float32), "six": np.array(6, np.float32),
}  # fmt: skip
