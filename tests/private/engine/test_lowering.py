import numpy as np
import pytest

from onnxshallow.errors import ModelError
from onnxshallow.model.session import Session
from onnxshallow.private.engine.lowering import lower, with_batch
from tests.networks import build
from tests.private.engine.cases import CASES, everything, network
from tests.private.engine.interpreter import interpret

IMAGES = np.random.default_rng(3).standard_normal((2, 4, 6, 6)).astype(np.float32)


def ops(program):
    return [step.op for step in program.steps]


@pytest.mark.parametrize("name", CASES)
def test_a_program_computes_what_the_network_does(name):
    model = network(name)
    (expected,) = Session(model).run({"x": IMAGES})
    (made,) = interpret(lower(with_batch(model, 2)), {"x": IMAGES})
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_a_longer_network():
    model = everything()
    (expected,) = Session(model).run({"x": IMAGES})
    (made,) = interpret(lower(with_batch(model, 2)), {"x": IMAGES})
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_depthwise_convolutions_are_written_tap_by_tap_if_asked():
    model = network("depthwise")
    program = lower(with_batch(model, 2), lambda matrices: matrices.groups == 4)
    assert "depthwise" in ops(program)
    (expected,) = Session(model).run({"x": IMAGES})
    np.testing.assert_allclose(interpret(program, {"x": IMAGES})[0], expected, rtol=1e-4, atol=1e-5)
    assert "conv" in ops(lower(with_batch(network("conv of two groups"), 2), lambda _: True))


def test_lines_are_images_of_one_row():
    model = build("(float[N,3,9] x) => (float[N,2,L] y) { y = Conv<strides=[2], pads=[1,0]>(x, w, b) }",
                  w=(2, 3, 3), b=(2,))  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 3, 9)).astype(np.float32)
    (made,) = interpret(lower(with_batch(model, 2)), {"x": x})
    np.testing.assert_allclose(made, Session(model).run({"x": x})[0], rtol=1e-4, atol=1e-5)


def test_a_slope_costs_one_product_and_elements_with_slope_one_are_not_compared():
    assert ops(lower(network("leaky"))) == ["relu", "subtract", "scale", "add"]
    text = "{ y = PRelu(x, s) }"
    half = build("(float[N,4,6,6] x) => (float[N,4,6,6] y) " + text,
                 s=np.array([0, 1, 0, 1], "f").reshape(4, 1, 1))  # fmt: skip
    program = lower(half)
    assert "multiply" not in ops(program)
    assert "scale" not in ops(program)
    assert len(program.steps[1].settings["index"]) == 2 * 36


def test_a_max_with_the_lowest_number_has_no_place_in_fixed_point():
    floors = np.array([0, np.finfo(np.float32).min, 0, 0], "f").reshape(4, 1, 1)
    with pytest.raises(ModelError, match="'y' \\(Max\\) is none that can be run under secure computation"):
        lower(build("(float[N,4,6,6] x) => (float[N,4,6,6] y) { y = Max(x, f) }", f=floors))


def test_what_is_folded_costs_no_step():
    text = """(float[N,2,4,4] x) => (float[N,3,4,4] y) {
        a = Conv(x, w) b = BatchNormalization(a, s, t, t, v) i = Identity(b) y = Mul(i, c) }"""
    program = lower(build(text, w=(3, 2, 1, 1), s=(3,), t=(3,), v=np.ones(3, "f"), c=(3, 1, 1)))
    assert ops(program) == ["conv", "add"]


def test_one_number_for_all_is_public_and_many_are_weights():
    program = lower(network("products"))
    assert [step.settings for step in program.steps if step.op == "scale"][-1] == {"number": 0.5}
    assert program.public == {}
    assert len(program.weights) == 1


def test_a_batch_that_is_fixed_stays():
    model = build("(float[3,2] x) => (float[3,2] y) { y = Relu(x) }")
    assert with_batch(model, 8).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    free = build("(float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    assert with_batch(free, 8).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 8
    assert not free.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")


@pytest.mark.parametrize(
    ("text", "words"),
    [("y = Erf(x)", "'y' \\(Erf\\)"), ("y = Pow(x, three)", "Pow"), ("y = Conv(x, w)", "over 3 axes")],
)
def test_what_cannot_be_run_is_told(text, words):
    shape = "[N,1,2,2,2]" if "Conv" in text else "[N,4]"
    model = build(f"(float{shape} x) => (float{shape} y) {{ {text} }}", three=np.float32(3), w=(1, 1, 1, 1, 1))
    with pytest.raises(ModelError, match=words):
        lower(model)
