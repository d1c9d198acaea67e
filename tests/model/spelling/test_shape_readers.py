import numpy as np
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.shape_readers import shape_readers
from tests.graphs import parse, run_plain, signed


def test_sizes_are_read_off_the_input():
    body = "h = Conv(x, w) r = Relu(h) s = Shape(r) y = Conv(r, v)"
    text = f"(float[N,3,6,6] x) => (float[N,4,6,6] y, int64[4] s) {{ {body} }}"
    model = parse(text, w=(4, 3, 1, 1), v=(4, 4, 1, 1))
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == ["Conv", "Relu", "Shape", "Gather", "Concat", "Conv"]
    assert Network(plain.model).is_private("r")
    feeds = {"x": signed("x", (2, 3, 6, 6))}
    for one, other in zip(run_plain(plain.model, feeds), run_plain(model, feeds), strict=True):
        np.testing.assert_array_equal(one, other)
    assert plain.restored(plain.model) == model


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,3] x) => (int64[2] s) { s = Shape(x) }",
        "(float[N,3] x) => (int64[2] s) { t = Transpose<perm=[1,0]>(x) s = Shape(t) }",
        "(float[N,3] x) => (int64[1] s) { r = Relu(x) s = Shape<start=1>(r) }",
        "(float[N,H] x) => (int64[2] s) { r = Relu(x) s = Shape(r) }",
        "(float[N,1] x) => (int64[2] s) { r = Reshape(x, one) s = Shape(r) }",
        "(float[2,3] x) => (int64[2] s) { r = Relu(x) s = Shape(r) }",
    ],
)
def test_others_stay(text):
    constants = {"one": np.array([1, -1])} if "one" in text else {}
    assert shape_readers(Network(parse(text, **constants))) == []
