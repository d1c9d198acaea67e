import numpy as np
import pytest

from tests.networks import build
from tests.training.operators.gradients import check

SMOOTH = [
    "Abs", "Ceil", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu<alpha=0.3>",
    "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Tanh", "Dropout",
]  # fmt: skip
FLAT = ("Ceil", "Floor", "Round", "Sign")


@pytest.mark.parametrize("name", SMOOTH)
def test_of_one_input(name):
    op, _, attributes = name.partition("<")
    attributes = f"<{attributes}" if attributes else ""
    model = build(
        f"(float[2,3,4] x) => (float[2,3,4] y) {{ h = Mul(x, w) y = {op}{attributes}(h) }}", opset=18, w=(3, 4)
    )
    check(model, gradient=op not in FLAT)


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Reciprocal"])
def test_of_positive_numbers(op):
    text = f"(float[2,3,4] x) => (float[2,3,4] y) {{ s = Mul(x, x) h = Add(s, w) y = {op}(h) }}"
    check(build(text, w=np.full((3, 4), 2, np.float32)))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate):
    text = f'(float[2,3,4] x) => (float[2,3,4] y) {{ h = Mul(x, w) y = Gelu<approximate="{approximate}">(h) }}'
    check(build(text, opset=20, ir_version=9, w=(3, 4)))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"])
def test_of_two_inputs(op):
    text = f"(float[2,3,4] x) => (float[2,3,4] y) {{ h = Mul(x, w) y = {op}(h, x) }}"
    check(build(text, w=(3, 4)))


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1), (1, 1, 1), (3, 1, 4), (2, 3, 1, 1)])
@pytest.mark.parametrize("operands", ["h, c", "c, h"])
def test_a_number_for_each_channel_of_maps(shape, operands):
    text = f"(float[2,3,4,4] x) => (float[2,3,4,4] y) {{ h = Conv(x, w) s = Add({operands}) y = Mul(s, s) }}"
    check(build(text, w=(3, 3, 1, 1), c=shape), trained=("w", "c") if np.prod(shape) > 1 else ("w",))


def test_a_quotient():
    text = "(float[2,3,4] x) => (float[2,3,4] y) { s = Mul(x, x) h = Add(s, w) y = Div(x, h) }"
    check(build(text, w=np.full((3, 4), 2, np.float32)))


def test_a_power_keeps_the_type():
    check(build("(float[2,3,4] x) => (float[2,3,4] y) { h = Mul(x, w) y = Pow(h, two) }", w=(3, 4), two=np.int64(2)))


@pytest.mark.parametrize(
    ("bounds", "values"),
    [("h, low, high", (-0.5, 0.7)), ("h, low", (-0.5,)), ('h, "", high', (None, 0.7)), ("h", ())],
)
def test_clip(bounds, values):
    named = {
        name: np.float32(value) for name, value in zip(("low", "high"), values, strict=False) if value is not None
    }
    read = bounds.replace('""', "")
    check(build(f"(float[2,3,4] x) => (float[2,3,4] y) {{ h = Mul(x, w) y = Clip({read}) }}", w=(3, 4), **named))


@pytest.mark.parametrize("attributes", ["<min=-0.5, max=0.7>", "<max=0.7>", ""])
def test_clip_of_older_opsets(attributes):
    text = f"(float[2,3,4] x) => (float[2,3,4] y) {{ h = Mul(x, w) y = Clip{attributes}(h) }}"
    check(build(text, opset=10, w=(3, 4)))


def test_the_slopes_of_a_prelu_learn():
    text = "(float[2,3,4,4] x) => (float[2,3,4,4] y) { h = Mul(x, w) y = PRelu(h, slope) }"
    check(build(text, w=(3, 4, 4), slope=(3, 1, 1)), trained=("w", "slope"))


def test_a_choice():
    text = "(float[2,3,4] x) => (float[2,3,4] y) { h = Mul(x, w) c = Greater(x, zero) n = Not(c) y = Where(n, h, x) }"
    check(build(text, w=(3, 4), zero=np.zeros(1, np.float32)))


@pytest.mark.parametrize("op", ["Equal", "Less", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons(op):
    text = f"(float[2,3,4] x) => (float[2,3,4] y) {{ a = Floor(x) b = {op}(a, one) c = Cast<to=1>(b) y = Mul(c, w) }}"
    check(build(text, w=(3, 4), one=np.zeros(1, np.float32)))


@pytest.mark.parametrize("op", ["And", "Or"])
def test_logic(op):
    text = (
        "(float[2,3,4] x) => (float[2,3,4] y) { a = Greater(x, zero) b = Less(x, one) "
        f"c = {op}(a, b) d = Cast<to=1>(c) y = Mul(d, w) }}"
    )
    check(build(text, w=(3, 4), zero=np.zeros(1, np.float32), one=np.ones(1, np.float32)))


def test_integers_are_divided_as_integers():
    text = "(int64[4] x) => (float[4] y) { q = Div(x, three) f = Cast<to=1>(q) y = Mul(f, w) }"
    from onnxshallow.model.network import Network
    from onnxshallow.training.graph import TorchGraph

    graph = TorchGraph(Network(build(text, w=np.ones(4, np.float32), three=np.int64(3))), ["y"])
    made = graph({"x": np.array([-7, -2, 2, 7], np.int64)})["y"]
    assert made.tolist() == [-2, 0, 0, 2]
