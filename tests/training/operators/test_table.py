import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.shapes import OWN_DOMAIN
from onnxshallow.model.spelling.smooth import FORMULAS
from onnxshallow.training.operators.call import Call
from onnxshallow.training.operators.table import OPERATORS, lacking, operator_of
from tests.graphs import parse


def test_other_domains_and_old_opsets_are_not_known():
    network = Network(parse("(float[2,3] x) => (float[2,3] y) { h = other.Relu(x) y = Relu(h) }", domains=("other",)))
    assert lacking(network.nodes[0], 17) == "other.Relu"
    assert lacking(network.nodes[1], 17) is None
    assert lacking(network.nodes[1], 6) == "Relu"


def test_operators_that_hold_other_operators_are_not_known():
    assert not {"If", "Loop", "Scan", "LSTM"} & set(OPERATORS)


@pytest.mark.parametrize("name", FORMULAS)
def test_calls_of_smooth_activations_are_known(name):
    torch = pytest.importorskip("torch")
    text = f"(float[9] x) => (float[9] y) {{ y = {OWN_DOMAIN}.{name}_2(x) }}"
    (node,) = Network(parse(text, domains=(OWN_DOMAIN,))).nodes
    assert lacking(node, 17) is None
    x = np.linspace(-5, 5, 9)
    made = operator_of(node)(Call(node, 17), torch.from_numpy(x.astype(np.float32)))
    np.testing.assert_allclose(made.numpy(), FORMULAS[name](x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "scales"), [("Silu", {"alpha": 0.7}), ("Elu", {"alpha": 0.5}), ("Selu", {"alpha": 2.0, "gamma": 0.5})]
)
def test_calls_with_scales_of_their_own_are_run_with_them(name, scales):
    torch = pytest.importorskip("torch")
    text = f"(float[9] x) => (float[9] y) {{ y = {OWN_DOMAIN}.{name}(x) }}"
    model = parse(text, domains=(OWN_DOMAIN,))
    model.graph.node[0].attribute.extend(onnx.helper.make_attribute(*each) for each in scales.items())
    (node,) = Network(model).nodes
    x = np.linspace(-5, 5, 9)
    made = operator_of(node)(Call(node, 17), torch.from_numpy(x.astype(np.float32)))
    np.testing.assert_allclose(made.numpy(), FORMULAS[name](x, **scales), atol=1e-5)
