import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.others import other_activations
from onnxshallow.analysis.smooth import keeps_zero
from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import parse


def analysed(body: str, opset: int = 20, domains=()):
    """Of a network whose `body` makes r of h, between two convolutions."""
    text = f"(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ h = Conv(x, w) {body} y = Conv(r, v) }}"
    model = parse(text, opset=opset, domains=domains, w=(5, 3, 1, 1), v=(2, 5, 1, 1))
    return analyze(plainly_spelled(model).model)


@pytest.mark.parametrize(
    ("body", "kind", "comparisons"),
    [
        ("r = Elu(h)", "elu", 0),
        ("r = Celu(h)", "celu", 0),
        ("r = Selu(h)", "selu", 0),
        ("r = Gelu(h)", "gelu", 0),
        ("r = Mish(h)", "mish", 0),
        ("r = Softplus(h)", "softplus", 0),
        ("r = Softsign(h)", "softsign", 0),
        ("r = HardSwish(h)", "hard_swish", 2),
        ("r = HardSigmoid(h)", "hard_sigmoid", 2),
        ("r = Sigmoid(h)", "sigmoid", 0),
        ("r = Tanh(h)", "tanh", 0),
        ("r = ThresholdedRelu<alpha=0.5>(h)", "thresholded_relu", 0),
        ("s = Sigmoid(h) r = Mul(h, s)", "silu", 0),
        ("s = Sigmoid(h) r = Log(s)", "log_sigmoid", 0),
        ("s = Softplus(h) t = Tanh(s) r = Mul(h, t)", "mish", 0),
        ("r = com.microsoft.QuickGelu(h)", "quick_gelu", 0),
        ("r = com.microsoft.FastGelu(h)", "fast_gelu", 0),
    ],
)
def test_smooth_activations_are_sites(body, kind, comparisons):
    analysis = analysed(body, domains=("com.microsoft",))
    (site,) = analysis.sites
    assert (site.kind, site.comparisons) == (kind, comparisons)
    assert other_activations(analysis.network) == ()
    if "microsoft" not in body:  # whose shapes are not inferred
        assert (site.size, site.channels, site.refusal) == (80, 5, None)


@pytest.mark.parametrize("gate", ["Sigmoid", "Tanh"])
def test_gates_are_none(gate):
    analysis = analysed(f"p = GlobalAveragePool(h) s = {gate}(p) r = Mul(h, s)")
    assert analysis.sites == ()
    assert other_activations(analysis.network) == (f"1 {gate}-gated activation",)


@pytest.mark.parametrize(
    "between",
    ["k = Reshape(s, sizes)", "u = Unsqueeze(s, axes) k = Expand(u, sizes)", "d = Div(s, two) k = Reshape(d, sizes)"],
)
def test_gates_are_none_where_their_shape_changes_before_the_product(between):
    weights = dict(g=(5, 5), sizes=np.array([1, 5, 1, 1]), axes=np.array([2, 3]), two=np.array(2, np.float32))
    model = parse(
        f"""(float[N,3,4,4] x) => (float[N,2,4,4] y) {{ h = Conv(x, w) p = ReduceMean<axes=[2,3], keepdims=0>(h)
        f = Gemm(p, g) s = Sigmoid(f) {between} r = Mul(h, k) y = Conv(r, v) }}""",
        w=(5, 3, 1, 1),
        v=(2, 5, 1, 1),
        **{name: value for name, value in weights.items() if name == "g" or f", {name}" in between},
    )
    analysis = analyze(model)
    assert analysis.sites == ()
    assert other_activations(analysis.network) == ("1 Sigmoid-gated activation",)


@pytest.mark.parametrize("operator", ["Sigmoid", "Tanh", "Softplus", "HardSigmoid"])
def test_what_ends_a_network_is_none(operator):
    model = parse(f"(float[N,3] x) => (float[N,2] y) {{ h = Gemm(x, w) y = {operator}(h) }}", w=(3, 2))
    analysis = analyze(model)
    assert analysis.sites == ()
    assert other_activations(analysis.network) == (f"1 {operator}",)


def test_what_is_not_zero_at_zero():
    kinds = ("elu", "gelu", "hard_sigmoid", "hard_swish", "sigmoid", "silu", "softplus", "tanh", "relu")
    assert [kind for kind in kinds if not keeps_zero(kind)] == ["hard_sigmoid", "sigmoid", "softplus"]
