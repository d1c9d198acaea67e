"""Where the weights of a layer may come from."""

import numpy as np
import onnx
import pytest

from onnxshallow.actions.emission import write_layers
from onnxshallow.model import network as network_module
from tests.analysis.layer_cases import assert_one_layer, layers_of
from tests.graphs import assert_same_function, parse, plain, signed

WEIGHTS = {
    "Constant node": ("w = Constant<value = float[1,1,1,1] {2.5}>() y = Conv(x, w)", 13),
    "Identity": ("k = Identity(stored) y = Conv(x, k)", 13),
    "Constant through Identity": ("w = Constant<value = float[1,1,1,1] {2.5}>() k = Identity(w) y = Conv(x, k)", 13),
    "arithmetic": ("k = Mul(stored, stored) j = Transpose<perm=[0,1,3,2]>(k) y = Conv(x, j)", 13),
}


@pytest.mark.parametrize(("body", "opset"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_from(body, opset):
    text = f"(float[N,1,4,4] x) => (float[N,1,h,w] y) {{ {body} }}"
    assert_one_layer(parse(text, opset=opset, stored=signed("k", (1, 1, 2, 3))), "Conv")


def test_quantized_weights_are_no_layer():
    text = """(float[N,3,6,6] x) => (float[N,4,4,4] y) { w = DequantizeLinear(q, scale) y = Conv(x, w) }"""
    layers = layers_of(parse(text, q=np.ones((4, 3, 3, 3), np.int8), scale=np.full((), 0.1, np.float32)))
    assert not layers.all
    assert "quantized" in layers.reasons[1]


def test_weights_that_a_caller_may_override_are_no_layer():
    text = "(float[N,3,6,6] x) => (float[N,4,4,4] y) { y = Conv(x, w) }"
    assert len(layers_of(parse(text, opset=8, ir=3, as_inputs=True, w=(4, 3, 3, 3)))) == 1
    layers = layers_of(parse(text, opset=8, ir=4, as_inputs=True, w=(4, 3, 3, 3)))
    assert not layers.all
    assert "overridden" in layers.reasons[0]


def test_weights_and_biases_that_are_computed_are_no_layer():
    text = "(float[N,3,6,6] x, float[4,3,3,3] w) => (float[N,4,4,4] y) { y = Conv(x, w) }"
    assert not layers_of(parse(text)).all
    text = "(float[N,3,6,6] x, float[4] b) => (float[N,4,4,4] y) { y = Conv(x, w, b) }"
    assert "bias" in layers_of(parse(text, w=(4, 3, 3, 3))).reasons[0]


def test_constants_that_nobody_can_evaluate_are_no_layer(monkeypatch):
    monkeypatch.setattr(network_module, "_run_node", lambda *arguments: None)
    text = "(float[N,3,6,6] x) => (float[N,4,4,4] y) { k = Neg(w) y = Conv(x, k) }"
    assert not layers_of(parse(text, w=(4, 3, 3, 3))).all
    text = "(float[N,3,6,6] x) => (float[N,4,4,4] y) { k = Neg(b) y = Conv(x, w, k) }"
    assert not layers_of(parse(text, w=(4, 3, 3, 3), b=(4,))).all


def test_shared_initializers_are_copied_on_write():
    text = "(float[N,4,6,6] x) => (float[N,4,6,6] y) { z = Conv(x, w) r = Relu(z) t = Conv(r, w) y = Mul(t, c) }"
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1))
    layers = layers_of(model)
    last = layers.all[1]
    rewritten = write_layers(layers.network, layers, {last: layers.convolution(last)})
    assert_same_function(rewritten, model)
    assert rewritten.graph.initializer[0] == model.graph.initializer[0]


def test_float16_weights_stay_float16():
    text = "(float16[N,3,6,6] x) => (float16[N,4,4,4] y) { y = Conv(x, w, b) }"
    model = parse(text, w=signed("w", (4, 3, 3, 3)).astype("e"), b=signed("b", (4,)).astype("e"))
    assert_one_layer(model, "Conv")
    assert layers_of(model).dtype(layers_of(model).all[0]) == np.float16


def test_bfloat16_weights_stay_bfloat16():
    text = "(bfloat16[N,3,6,6] x) => (bfloat16[N,4,4,4] y) { y = Conv(x, w) }"
    model = parse(text, opset=22, ir=10)
    values = signed("w", (4, 3, 3, 3))
    bits = values.view(np.uint32) >> 16
    model.graph.initializer.append(
        onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, values.shape, bits.astype("<u2").tobytes(), raw=True)
    )
    rewritten = plain(model)
    onnx.checker.check_model(rewritten, full_check=True)
    weight = next(tensor for tensor in rewritten.graph.initializer if tensor.name == rewritten.graph.node[0].input[1])
    assert weight.data_type == onnx.TensorProto.BFLOAT16
    assert weight.raw_data == model.graph.initializer[0].raw_data
