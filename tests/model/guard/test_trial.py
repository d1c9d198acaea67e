import time

import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.guard import trial
from onnxshallow.model.guard.trial import require_bounded_run
from onnxshallow.model.network import Network
from tests.graphs import parse

MIB = 1 << 20
# As many elements as `many` says, whatever the input is.
SIZED = """(float[N,3] x) => (float y) {
    m = ReduceMax<keepdims=0>(x)
    n = Mul(m, zero)
    c = Add(n, many)
    s = Cast<to=7>(c)
    t = ConstantOfShape(s)
    y = ReduceMax<keepdims=0>(t)
}"""


def run(model, max_tensor=512 * MIB):
    require_bounded_run(model, Network(model), "a.onnx", max_tensor)


def sized(count):
    return parse(SIZED, zero=np.zeros(1, np.float32), many=np.full(1, count, np.float32))


def test_a_size_that_is_computed_passes_within_the_limit():
    run(sized(MIB // 2), 2 * MIB)


@pytest.mark.parametrize("count", [4 * MIB, 2**35, 2**60])
def test_a_size_that_is_computed_is_refused_beyond_it(count):
    with pytest.raises(
        ModelError, match=r"a.onnx takes more than 3 MiB for one sample of zeros.* raise --max-tensor"
    ):
        run(sized(count), 2 * MIB)


def test_the_limit_of_one_run_does_not_bind_the_next():
    with pytest.raises(ModelError):
        run(sized(4 * MIB), 2 * MIB)
    run(sized(4 * MIB), 64 * MIB)


def test_a_loop_that_does_not_end_is_stopped(monkeypatch):
    monkeypatch.setattr(trial, "MAX_SECONDS", 0.3)
    model = parse(
        """(float[N,1] x) => (float y) { s = ReduceMax<keepdims=0>(x)
        y = Loop(, go, s) <body = b (int64 i, bool c, float v) => (bool d, float w) {
            w = Mul(v, v)
            d = Less(w, bound) }> }""",
        go=np.array(True),
        bound=np.array(1, np.float32),
    )
    start = time.process_time()
    with pytest.raises(ModelError, match=r"takes more than 0.3 seconds for one sample of zeros"):
        run(model)
    assert time.process_time() - start < 5


def test_models_whose_sizes_are_known_are_not_run(monkeypatch):
    monkeypatch.setattr(trial.ort, "InferenceSession", None)
    run(parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }"))


def test_models_with_open_inputs_are_not_run(monkeypatch):
    monkeypatch.setattr(trial.ort, "InferenceSession", None)
    run(parse("(float[N,H] x) => (int64[r,n] y) { y = NonZero(x) }"))


def test_other_failures_are_left_to_those_who_use_the_model():
    run(parse("(float[N,3] x) => (float[N,3] y) { y = mine.Thing(x) }", domains=["mine"]))
