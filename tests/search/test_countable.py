import numpy as np
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
