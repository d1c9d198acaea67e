import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.trainable import held, trainable
from tests.graphs import parse, positive
from tests.networks import build, residual


def names(model: onnx.ModelProto) -> tuple[str, ...]:
    network = Network(model)
    return trainable(network, [node.index for node in network.nodes])


def test_weights_and_biases():
    assert set(names(residual())) == {*(f"w{i}" for i in range(6)), *(f"b{i}" for i in range(6))}


def test_statistics_shapes_bounds_and_single_numbers_stay():
    text = """(float[2,3,4,4] x) => (float[N,M] y) {
        a = Mul(x, single)
        b = BatchNormalization(a, scale, bias, mean, variance)
        c = Clip(b, low, high)
        y = Reshape(c, shape)
    }"""
    model = build(
        text,
        single=np.full(1, 0.5, np.float32),
        scale=(3,),
        bias=(3,),
        mean=(3,),
        variance=positive("variance", (3,)),
        low=np.float32(0),
        high=np.float32(6),
        shape=np.array([0, -1]),
    )
    assert names(model) == ("scale", "bias")


def test_a_weight_that_is_reshaped_first():
    text = "(float[2,3] x) => (float[2,4] y) { t = Transpose(w) y = MatMul(x, t) }"
    assert names(build(text, w=(4, 3))) == ("w",)


def test_a_value_with_two_meanings_stays():
    text = "(float[2,3] x) => (float[2,3] y) { a = Add(x, w) b = Pow(a, w) y = Add(b, v) }"
    assert names(build(text, w=(3,), v=(3,))) == ("v",)


def test_what_a_caller_may_replace_stays():
    assert names(parse("(float[2,3] x) => (float[2,3] y) { y = Add(x, w) }", as_inputs=True, w=(3,))) == ()


def test_weights_of_nodes_without_a_gradient_stay():
    network = Network(residual())
    assert trainable(network, [network.nodes[-1].index]) == ("w5", "b5")


@pytest.mark.parametrize(("slope", "expected"), [([0.0, 1.0, 0.2], [False, True, False]), ([0.0, 0.1, 0.2], None)])
def test_elements_without_an_activation_get_none_again(slope, expected):
    slope = np.array(slope, np.float32).reshape(3, 1, 1)
    network = Network(build("(float[2,3,4,4] x) => (float[2,3,4,4] y) { y = PRelu(x, s) }", s=slope))
    found = held(network, "s", slope)
    assert (None if found is None else found.ravel().tolist()) == expected


def test_other_weights_are_not_held():
    network = Network(build("(float[2,3] x) => (float[2,3] y) { y = Add(x, w) }", w=np.ones(3, np.float32)))
    assert held(network, "w", np.ones(3, np.float32)) is None
