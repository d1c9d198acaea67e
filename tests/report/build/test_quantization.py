import pytest

from onnxshallow.analysis import analyze
from onnxshallow.report.build.quantization import nodes_to_exclude
from onnxshallow.report.build.run import site_reports
from tests.networks import build

NORMALIZED = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
    [conv_a] h = Conv<pads=[1,1,1,1]>(x, w0)
    n = BatchNormalization(h, s, b, m, v)
    [relu_a] r = Relu(n)
    [conv_b] g = Conv<pads=[1,1,1,1]>(r, w1)
    [relu_b] q = Relu(g)
    a = Add(q, r)
    [relu_c] p = Relu(a)
    t = Conv<pads=[1,1,1,1]>(p, w2)
    y = Relu(t)
}"""
WEIGHTS = {"w0": (4, 3, 3, 3), "w1": (4, 4, 3, 3), "w2": (4, 4, 3, 3)} | dict.fromkeys("sbmv", (4,))


@pytest.fixture
def analysis():
    return analyze(build(NORMALIZED, **WEIGHTS))


def sites(analysis, **sensitivities):
    return [one.model_copy(update={"sensitivity": sensitivities.get(one.name)}) for one in site_reports(analysis)]


def test_the_most_sensitive_come_first_with_the_layers_that_feed_them(analysis):
    found = nodes_to_exclude(analysis, sites(analysis, relu_a=0.1, relu_b=0.5, relu_c=0.3))
    assert found == ["conv_b", "relu_b", "relu_c", "conv_a", "relu_a"]


def test_what_was_not_measured_or_has_no_name_is_left_out(analysis):
    assert nodes_to_exclude(analysis, sites(analysis)) == []
    last = analysis.sites[-1].name
    assert nodes_to_exclude(analysis, sites(analysis, **{last: 1.0})) == []
