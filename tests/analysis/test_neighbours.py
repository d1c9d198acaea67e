import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.neighbours import damaged_neighbour, foreign_neighbour
from tests.graphs import parse


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("h = Conv(x, w) r = Relu(h) y = MaxPool<kernel_shape=[2,2]>(r)", "MaxPool node 'y' follows it and is no"),
        (
            "h = MaxPool<kernel_shape=[2,2]>(x) r = Relu(h) y = Conv(r, w)",
            "MaxPool node 'h' comes before it and is no",
        ),
        ("h = Conv(x, w) r = Relu(h) a = Conv(r, w) y = Add(a, r)", "no convolution follows that could be merged"),
        ("h = Conv(x, w) y = Relu(h)", "what it makes is an output of the model"),
        (
            "h = Conv(x, w) r = Relu(h) m = Mul(r, c) a = Conv(m, w) b = Conv(m, w) y = Mul(a, b)",
            "tensor 'm' behind it is read by 2 nodes",
        ),
        (
            "h = Conv(x, w) r = Relu(h) j = Concat<axis=1>(r, x) a = Conv(j, v) b = Conv(j, v) y = Mul(a, b)",
            "tensor 'j' behind it is read by 2 nodes",
        ),
        (
            "e = Exp(x) h = Conv(x, w) r = Relu(h) j = Concat<axis=1>(r, e) y = Conv(j, v)",
            "Concat node 'j' joins it with branches",
        ),
        (
            "h = Conv(x, w) r = Relu(h) m = Mul(r, c) y = MaxPool<kernel_shape=[2,2]>(m)",
            "MaxPool node 'y' follows it and is no",
        ),
    ],
)
def test_what_stands_beside_a_site_is_named(body, reason):
    analysis = analyze(
        parse(f"(float[N,3,6,6] x) => (float[N,3,h,v] y) {{ {body} }}", w=(3, 3, 1, 1), c=(3, 1, 1), v=(3, 6, 1, 1))
    )
    (site,) = analysis.sites
    assert foreign_neighbour(analysis, site).startswith(reason)
    assert damaged_neighbour(analysis, site) is None


def test_a_layer_that_is_none_says_why():
    text = "(float[N,3,6,6] x, float[3,3,1,1] w) => (float[N,3,6,6] y) { h = Conv(x, v) r = Relu(h) y = Conv(r, w) }"
    analysis = analyze(parse(text, v=(3, 3, 1, 1)))
    assert damaged_neighbour(analysis, analysis.sites[0]) == (
        "Conv node 'y' beside it cannot be merged: its weights are an input of the model"
    )
