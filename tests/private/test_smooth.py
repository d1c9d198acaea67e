import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from onnxshallow.analysis.smooth import kind_of
from onnxshallow.model.network import Network
from onnxshallow.private.smooth import steps_of
from tests.graphs import parse


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Sigmoid(x)", "sigmoid"),
        ("y = Tanh(x)", "tanh"),
        ("y = Softplus(x)", "softplus"),
        ("y = Gelu(x)", "scale erf scale product"),
        ('y = Gelu<approximate="tanh">(x)', "square scale product tanh scale product"),
        ("y = Mish(x)", "softplus tanh product"),
        ("y = Elu(x)", "comparison exp scale"),
        ("y = Softsign(x)", ""),
        ("y = Neg(x)", ""),
    ],
)
def test_the_steps_of_each_activation(body, expected):
    (node,) = Network(parse(f"(float[N,3] x) => (float[N,3] y) {{ {body} }}", opset=20)).nodes
    by_tanh = node.attributes.get("approximate") == "tanh"
    assert list(steps_of(kind_of(node), by_tanh=by_tanh)) == expected.split()


def test_the_forms_are_those_that_are_counted():
    """What the module says of how each is computed, with numpy for the functions."""
    x = np.linspace(-4, 4, 101).astype(np.float32)

    def reference(body):
        return ReferenceEvaluator(parse(f"(float[101] x) => (float[101] y) {{ {body} }}", opset=20)).run(
            None, {"x": x}
        )[0]

    softplus = np.log(1 + np.exp(x))
    c, d = np.sqrt(2 / np.pi), 0.044715
    forms = {
        "y = Softplus(x)": softplus,
        "y = Mish(x)": x * np.tanh(softplus),
        'y = Gelu<approximate="tanh">(x)': x * (1 + np.tanh(c * x * (1 + d * x * x))) / 2,
        "y = Elu<alpha=0.7>(x)": np.maximum(x, 0) + 0.7 * (np.exp(x - np.maximum(x, 0)) - 1),
    }
    for body, form in forms.items():
        np.testing.assert_allclose(reference(body), form, atol=1e-5, err_msg=body)
