import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.fused import fused_biases, fused_layers
from tests.graphs import parse, run_plain, signed

MICROSOFT = ["com.microsoft"]


def fused(body: str) -> onnx.ModelProto:
    text = f"(float[2,3,6,6] x) => (float[2,4,6,6] y) {{ {body} }}"
    arrays = dict(w=(4, 3, 3, 3), b=(4,), z=(2, 4, 6, 6))
    return parse(text, domains=MICROSOFT, **{k: v for k, v in arrays.items() if f" {k}" in body or k == "w"})


@pytest.mark.parametrize(
    ("attributes", "inputs", "plain"),
    [('activation="Relu"', "x, w, b", ["Conv", "Relu"]),
     ('activation="Relu"', "x, w", ["Conv", "Relu"]),
     ('activation="Relu"', "x, w, b, z", ["Conv", "Add", "Relu"]),
     ('activation="LeakyRelu", activation_params=[0.25]', "x, w, b", ["Conv", "LeakyRelu"]),
     ('activation="HardSigmoid", activation_params=[0.5, 0.25]', "x, w, b", ["Conv", "HardSigmoid"]),
     ('activation="HardSwish"', "x, w, b", ["Conv", "HardSwish"]),
     ('activation="Clip", activation_params=[-0.5, 2.0]', "x, w, b, z", ["Conv", "Add", "Clip"])],
)  # fmt: skip
def test_fused_convolutions(attributes, inputs, plain):
    model = fused(f"y = com.microsoft.FusedConv<{attributes}, pads=[1,1,1,1]>({inputs})")
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == plain
    feeds = {"x": signed("x", (2, 3, 6, 6))}
    np.testing.assert_allclose(run_plain(made.model, feeds)[0], run_plain(model, feeds)[0], rtol=1e-4, atol=1e-4)
    assert made.restored(made.model) == model


@pytest.mark.parametrize(
    ("attributes", "activation"),
    [("activation_alpha=0.25", "LeakyRelu"), ("activation_alpha=0.5", "Elu"), ("activation_alpha=0.5", "Celu"),
     ("activation_alpha=1.5, activation_gamma=1.25", "Selu"), ("activation_alpha=0.5", "ThresholdedRelu"),
     ("transB=0", "Softplus"), ("transB=0", "Softsign")],
)  # fmt: skip
def test_fused_products(attributes, activation):
    call = f'com.microsoft.FusedGemm<activation="{activation}", {attributes}, alpha=0.5>(x, w, b)'
    model = parse(f"(float[2,3] x) => (float[2,4] y) {{ y = {call} }}", domains=MICROSOFT, w=(3, 4), b=(4,))
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == ["Gemm", activation]
    feeds = {"x": signed("x", (2, 3))}
    np.testing.assert_allclose(run_plain(made.model, feeds)[0], run_plain(model, feeds)[0], rtol=1e-5, atol=1e-5)
    assert made.restored(made.model) == model


def test_bounds_are_attributes_where_the_operators_have_them_so():
    text = """(float[2,3,6,6] x) => (float[2,4,6,6] y) {
        y = com.microsoft.FusedConv<activation="Clip", activation_params=[0.0, 6.0], pads=[1,1,1,1]>(x, w) }"""
    made = plainly_spelled(parse(text, opset=10, domains=MICROSOFT, w=(4, 3, 3, 3))).model
    assert {a.name for a in made.graph.node[1].attribute} == {"min", "max"}
    assert len(made.graph.initializer) == 1


def test_activations_that_are_not_known_stay():
    model = fused('y = com.microsoft.FusedConv<activation="Swish", pads=[1,1,1,1]>(x, w, b)')
    assert fused_layers(Network(model)) == []


def test_activations_that_the_operators_lack_stay():
    text = """(float[2,3,6,6] x) => (float[2,4,6,6] y) {
        y = com.microsoft.FusedConv<activation="HardSwish", pads=[1,1,1,1]>(x, w) }"""
    assert fused_layers(Network(parse(text, opset=13, domains=MICROSOFT, w=(4, 3, 3, 3)))) == []


@pytest.mark.parametrize("operator", ["BiasGelu", "FastGelu"])
def test_activations_that_read_a_bias(operator):
    text = f"(float[2,3,4] x) => (float[2,3,4] y) {{ y = com.microsoft.{operator}(x, b) }}"
    model = parse(text, domains=MICROSOFT, b=(4,))
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == ["Add", operator.replace("Bias", "")]
    assert fused_biases(Network(made.model)) == []
    feeds = {"x": signed("x", (2, 3, 4))}
    np.testing.assert_allclose(run_plain(made.model, feeds)[0], run_plain(model, feeds)[0], rtol=1e-4, atol=1e-4)
    assert made.restored(made.model) == model
