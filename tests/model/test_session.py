import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.session import Session
from tests.graphs import parse, run_reference, signed

TWO = "(float[N,3] x) => (float[N,3] r, float[N,3] s) { r = Relu(x) s = Neg(x) }"


def test_all_outputs_or_those_asked_for():
    session = Session(parse(TWO), threads=1, spin=False)
    x = signed("x", (2, 3))
    assert session.output_names == ("r", "s")
    np.testing.assert_array_equal(session.run({"x": x})[1], -x)
    (only,) = session.run({"x": x}, ["s"])
    np.testing.assert_array_equal(only, -x)


@pytest.mark.parametrize("optimize", [True, False])
def test_zero_pad_before_max_pool_on_negative_data(optimize):
    """Trap: onnxruntime 1.31 folds the Pad into the MaxPool, whose padding is minus infinity."""
    model = parse(
        "(float[N,1,4,4] x) => (float[N,1,4,4] y) { p = Pad(x, pads) y = MaxPool<kernel_shape=[3,3]>(p) }",
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    )
    x = -np.abs(signed("x", (2, 1, 4, 4))) - 1
    (y,) = Session(model, optimize=optimize).run({"x": x})
    np.testing.assert_array_equal(y, run_reference(model, {"x": x})[0])
    assert y.max() == 0


def test_waiting_threads_change_no_result():
    x = signed("x", (2, 3))
    for yielding in (True, False):
        np.testing.assert_array_equal(Session(parse(TWO), threads=2, yielding=yielding).run({"x": x})[1], -x)


def test_models_that_onnxruntime_refuses():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = mine.Thing(x) }", domains=["mine"])
    with pytest.raises(ModelError, match=r"onnxruntime does not run the model: .*Thing"):
        Session(model)


def test_ir_and_opset_that_onnxruntime_does_not_know():
    with pytest.raises(ModelError, match="onnxruntime does not run the model"):
        Session(parse(TWO, ir=99))


def test_inputs_that_do_not_fit():
    with pytest.raises(ModelError, match="fails while running"):
        Session(parse(TWO)).run({"x": np.zeros((2, 4), np.float32)})
    with pytest.raises(ModelError, match="fails while running"):
        Session(parse(TWO)).run({})
