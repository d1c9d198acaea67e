import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.fused import fused_layers
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
     ('activation="HardSigmoid", activation_params=[0.5, 0.25]', "x, w, b", ["Conv", "HardSigmoid"])],
)  # fmt: skip
def test_fused_convolutions(attributes, inputs, plain):
    model = fused(f"y = com.microsoft.FusedConv<{attributes}, pads=[1,1,1,1]>({inputs})")
    made = plainly_spelled(model)
    assert [node.op_type for node in made.model.graph.node] == plain
    feeds = {"x": signed("x", (2, 3, 6, 6))}
    np.testing.assert_allclose(run_plain(made.model, feeds)[0], run_plain(model, feeds)[0], rtol=1e-4, atol=1e-4)
    assert made.restored(made.model) == model


def test_fused_products():
    text = "(float[2,3] x) => (float[2,4] y) { y = com.microsoft.FusedGemm<%s, alpha=0.5>(x, w, b) }"
    model = parse(text % 'activation="LeakyRelu", activation_alpha=0.25', domains=MICROSOFT, w=(3, 4), b=(4,))
    made = plainly_spelled(model).model
    assert [node.op_type for node in made.graph.node] == ["Gemm", "LeakyRelu"]
    feeds = {"x": signed("x", (2, 3))}
    np.testing.assert_allclose(run_plain(made, feeds)[0], run_plain(model, feeds)[0], rtol=1e-5, atol=1e-5)


def test_activations_that_are_not_known_stay():
    model = fused('y = com.microsoft.FusedConv<activation="Swish", pads=[1,1,1,1]>(x, w, b)')
    assert fused_layers(Network(model)) == []
