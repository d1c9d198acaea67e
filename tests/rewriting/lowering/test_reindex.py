"""Channels in another order, and fewer of them."""

import numpy as np
import onnx

from onnxshallow.analysis import analyze
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.rewriting.lowering.reindex import reindex
from tests.graphs import assert_same_function, frozen, parse, signed

TEXT = """(float[N,3,4,4] x) => (float[N,2] y) {
    c = Conv(x, w, b) s = Add(c, k) r = PRelu(s, slope) d = Conv<group=4>(r, dw) t = Add(d, grid) e = Relu(t)
    f = Reshape(e, rows) y = Gemm<transB=1>(f, v)
}"""
WEIGHTS = {
    "w": (4, 3, 1, 1), "b": (4,), "k": (4, 1, 1), "slope": (4, 1, 1), "dw": (4, 1, 1, 1), "grid": (4, 4, 4),
    "rows": np.array([-1, 64]), "v": (2, 64),
}  # fmt: skip
ORDER = np.array([2, 0, 3, 1])


def blocks(order: np.ndarray) -> np.ndarray:
    return (order[:, np.newaxis] * 16 + np.arange(16)).reshape(-1)


def orders(order: np.ndarray) -> dict[str, np.ndarray]:
    return {**dict.fromkeys(("s", "r", "d", "t", "e"), order), "f": blocks(order)}


def test_a_permutation_changes_no_output():
    model = parse(TEXT, **WEIGHTS)
    before = frozen(model)
    result = reindex(analyze(model), orders(ORDER))
    assert frozen(model) == before
    assert_same_function(result, model)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    (prelu,) = (node for node in result.graph.node if node.op_type == "PRelu")
    np.testing.assert_array_equal(values[prelu.input[1]], onnx_value(model, "slope")[ORDER])


def test_channels_of_zeros_can_be_left_out():
    weights = {name: onnx_value(parse(TEXT, **WEIGHTS), name).copy() for name in WEIGHTS}
    for name in ("w", "b", "k", "dw", "grid"):
        weights[name][[1, 3]] = 0
    model = parse(TEXT, **weights)
    result = reindex(analyze(model), orders(np.array([2, 0])))
    assert_same_function(result, model)
    assert analyze(result).cost.relus == analyze(model).cost.relus // 2


def test_nothing_is_said_of_tensors_that_only_the_files_spelling_has():
    text = """(float[N,3,4,4] x) => (float[N,2,4,4] y) {
        c = Conv(x, w) a = Abs(c) s = Add(c, a) r = Mul(s, half) y = Conv(r, v) }"""
    weights = dict(w=signed("w", (4, 3, 1, 1)), half=np.array(0.5, np.float32), v=(2, 4, 1, 1))
    weights["w"][[1, 3]] = 0
    model = onnx.shape_inference.infer_shapes(parse(text, **weights))
    plain = plainly_spelled(model)
    result = plain.restored(reindex(analyze(plain.model), dict.fromkeys(("c", "r"), np.array([2, 0]))))
    assert [node.op_type for node in result.graph.node] == ["Conv", "Abs", "Add", "Mul", "Conv"]
    onnx.checker.check_model(result, full_check=True)
    assert_same_function(result, model)


def onnx_value(model: onnx.ModelProto, name: str) -> np.ndarray:
    return next(onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
