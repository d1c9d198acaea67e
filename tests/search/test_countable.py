import numpy as np
import onnx
import onnxruntime
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.document import as_document
from onnxshallow.options.config import resolve
from onnxshallow.search.countable import require_countable
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.solver import Budget
from tests.graphs import parse

LOOP = """(float[N,3,6,6] x) => (float[N,4,6,6] y) { h = Conv(x, w) s = ReduceSum<keepdims=0>(x) q = Greater(s, zero)
    n = Cast<to=7>(q)
    y = Loop(n, , h) <body = b (int64 i, bool c, float[N,4,6,6] u) => (bool d, float[N,4,6,6] v) {
        d = Identity(c) v = Relu(u) }> }"""
GATED = "(float[N,3,6,6] x) => (float[N,4,6,6] y) { h = Conv(x, w) s = Sigmoid(h) y = Mul(h, s) }"
LINEAR = "(float[N,3,6,6] x) => (float[N,4,6,6] y) { y = Conv(x, w) }"


def checked(tmp_path, text: str, budget: Budget) -> None:
    weights = {"zero": np.zeros((), np.float32)} if "zero" in text else {}
    config = resolve({"calib_samples": 20, "target_relus": 0.5}, tmp_path / "net.onnx")
    require_countable(load_inputs(as_document(parse(text, w=(4, 3, 1, 1), **weights)), config), budget)


@pytest.mark.parametrize(
    ("text", "said"),
    [(LOOP, "1 activations whose sizes are not known"), (GATED, "no ReLU-like activation, and 1 Silu")],
)
def test_a_share_of_what_is_not_counted_is_refused(tmp_path, text, said):
    with pytest.raises(ModelError, match=said):
        checked(tmp_path, text, Budget(0))


@pytest.mark.parametrize("text", [LOOP, GATED])
def test_other_targets_are_not(tmp_path, text):
    checked(tmp_path, text, Budget(macs=100))


def test_a_network_that_is_linear_has_nothing_that_is_not_counted(tmp_path):
    checked(tmp_path, LINEAR, Budget(0))


def test_a_share_is_refused_where_layers_of_blocked_layout_hold_activations(tmp_path):
    path = tmp_path / "blocked.onnx"
    wide = "(float[N,3,6,6] x) => (float[N,16,6,6] y) { h = Conv(x, w) r = Relu(h) f = Conv(r, v) y = Tanh(f) }"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    content = parse(wide, w=(16, 3, 1, 1), v=(16, 16, 1, 1)).SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    if not any(entry.domain.endswith("nchwc") for entry in model.opset_import):
        pytest.skip("onnxruntime has no blocked layout on this processor")
    inputs = load_inputs(as_document(model), resolve({"calib_samples": 20, "target_relus": 0.5}, path))
    with pytest.raises(ModelError, match="1 Relu in Conv"):
        require_countable(inputs, Budget(0))
