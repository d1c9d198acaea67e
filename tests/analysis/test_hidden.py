import numpy as np
import pytest

from onnxshallow.analysis.hidden import hidden_networks
from onnxshallow.analysis.others import other_activations
from onnxshallow.analysis.sites import find_sites
from onnxshallow.model.network import Network
from tests.graphs import parse

ZERO, SIX = np.float32(0), np.float32(6)


def branch(body, kind="float[N,3,4,4]"):
    """A network with a convolution, `body` in a branch, which reads a and makes k, and a convolution."""
    text = f"""({kind} x, bool q) => (float[N,2,4,4] y) {{ a = Conv(x, v)
        b = If(q) <then_branch = t () => (float[M,5,4,4] k) {{ {body} }},
                   else_branch = e () => (float[M,5,4,4] l) {{ l = Identity(a) }}>
        y = Conv(b, w) }}"""
    return Network(parse(text, v=(5, 3, 1, 1), w=(2, 5, 1, 1), zero=np.array(ZERO), six=np.array(SIX)))


@pytest.mark.parametrize(
    ("body", "kind", "comparisons"),
    [
        ("k = Max(a, zero)", "relu", 1),
        ("c = Greater(a, zero) k = Where(c, a, zero)", "relu", 1),
        ("c = Max(zero, a) k = Min(c, six)", "clip", 2),
        ("z = Constant <value_float = 0.0> () k = Max(a, z)", "relu", 1),
        ("c = Sigmoid(a) k = Mul(c, a)", "silu", 0),
        ("k = Tanh(a)", "tanh", 0),
    ],
)
def test_branches_hold_activations_in_any_spelling(body, kind, comparisons):
    (site,) = find_sites(branch(body))
    assert (site.name, site.node, site.kind, site.size, site.comparisons) == ("b/k", -1, kind, 80, comparisons)
    assert site.refusal == "it is inside the body of If node 'b', which runs conditionally"


def test_what_does_nothing_in_a_branch_is_none():
    assert not find_sites(branch("c = LeakyRelu <alpha = 1.0> (a) k = Max(c, c)"))


def test_what_is_computed_of_sizes_in_a_branch_is_none():
    text = """(float[N,3] x, bool q) => (int64[1] y) { s = Shape <start = 1> (x)
        y = If(q) <then_branch = t () => (int64[1] k) { k = Max(s, one) },
                   else_branch = e () => (int64[1] l) { l = Identity(s) }> }"""
    assert not find_sites(Network(parse(text, one=np.array([1]))))


def test_a_fixed_batch_is_divided_out():
    (site,) = find_sites(branch("k = Relu(a)", kind="float[2,3,4,4]"))
    assert site.size == 80


def test_how_often_a_loop_runs_is_not_known():
    text = """(float[N,3] x, int64 n) => (float[N,3] y) {
        y = Loop(n, , x) <body = b (int64 i, bool c, float[N,3] u) => (bool d, float[N,3] v) {
            d = Identity(c) v = Max(u, zero) }> }"""
    (site,) = find_sites(Network(parse(text, zero=np.array(ZERO))))
    assert (site.kind, site.size) == ("relu", None)
    assert "of Loop node" in site.refusal
    assert site.refusal.endswith("which runs again and again")


def test_functions_get_the_attributes_of_their_call():
    function = """<domain: "pkg", opset_import: ["" : 13]> act <alpha> (a, unused) => (b) {
        b = LeakyRelu <alpha: float = @alpha> (a) }"""
    text = "(float[N,3] x) => (float[N,3] y) { z = pkg.act <alpha = 1.0> (x) y = pkg.act <alpha = 0.1> (z) }"
    (site,) = find_sites(Network(parse(text, domains=["pkg"], functions=function)))
    assert (site.name, site.kind, site.size) == ("y/b", "leaky_relu", 3)


def test_the_functions_of_the_plain_spelling_hide_nothing():
    from onnxshallow.model.spelling import plainly_spelled

    text = (
        "(float[N,3] x) => (float[N,3] y) { a = Add(x, k) b = Relu(a) c = Min(b, six) d = Mul(x, c) y = Div(d, six) }"
    )
    model = plainly_spelled(parse(text, k=np.array(np.float32(3)), six=np.array(SIX))).model
    network = Network(model)
    assert not find_sites(network)  # no layer follows
    assert other_activations(network) == ("1 HardSwish",)
    assert not list(hidden_networks(network, network.nodes[0]))
