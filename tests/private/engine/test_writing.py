import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import ModelError
from onnxshallow.private.engine.program import ProgramWriter
from onnxshallow.private.engine.writing import Lowering, constant, shape_of
from tests.graphs import parse
from tests.networks import build


def lowering(text, **weights):
    return Lowering(analyze(build(text, **weights)), ProgramWriter())


def test_constants_become_weights_once():
    state = lowering("(float[N,2] x) => (float[N,2] y) { c = Neg(w) y = Add(x, c) }", w=np.array([1, 2], "f"))
    assert state.name("c") == state.name("c")
    assert [array.tolist() for array in state.writer.weights.values()] == [[-1, -2]]
    with pytest.raises(ModelError, match="'x'"):
        state.name("x")


def test_one_number_is_no_weight():
    state = lowering("(float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    assert state.times("x", np.ones(2)) == "x"
    state.times("x", np.full(2, 3.0))
    state.times("x", np.array([1.0, 2.0]))
    assert [step.op for step in state.writer.steps] == ["scale", "multiply"]


def test_values_that_a_caller_may_replace_are_read_as_stored():
    text = "(float[N,2,3,3] x) => (float[N,4,3,3] y) { y = Conv(x, w) }"
    network = analyze(parse(text, w=(4, 2, 1, 1), as_inputs=True)).network
    assert constant(network, "w").shape == (4, 2, 1, 1)


def test_open_shapes_are_told():
    network = analyze(build("(float[N,2,H,W] x) => (float[N,2,H,W] y) { y = Relu(x) }")).network
    with pytest.raises(ModelError, match="--input-shape"):
        shape_of(network, "x")
