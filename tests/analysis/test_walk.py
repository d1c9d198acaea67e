"""Ways that no test of regions takes: over averages of the whole map."""

import pytest

from onnxshallow.analysis import NotLinearError, analyze, find_regions, trace_region
from tests.graphs import parse

WEIGHTS = dict(w=(5, 3, 3, 3), p=(5, 3, 1, 1), q=(4, 5, 1, 1), k=(5, 5, 3, 3), g=(4, 5), s=(3, 5), t=(3, 3, 1, 1))
POINTWISE = "a = Conv(x, p) r = Relu(a) m = GlobalAveragePool(r)"


def analysis_of(body, outputs="float[N,C] y"):
    return analyze(parse(f"(float[N,3,8,8] x) => ({outputs}) {{ {body} }}", **WEIGHTS))


@pytest.mark.parametrize(
    ("body", "exact", "rank"),
    [
        (f"{POINTWISE} f = Flatten(m) y = Gemm<transB=1>(f, g)", True, 0),
        ("a = Conv(x, p) r = Relu(a) f = ReduceMean<axes=[2,3], keepdims=0>(r) y = Gemm<transB=1>(f, g)", True, 0),
        (f"{POINTWISE} y = Conv(m, q)", True, 2),
        ("a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) m = GlobalAveragePool(r) y = Conv(m, q)", False, 2),
        ("a = Conv<strides=[2,2]>(x, p) r = Relu(a) m = GlobalAveragePool(r) y = Conv(m, q)", False, 2),
    ],
)
def test_an_average_is_part_of_a_chain(body, exact, rank):
    (region,), reasons = find_regions(analysis_of(body))
    assert (region.source, region.output, region.sites, reasons) == ("x", "y", ("r",), {})
    assert (region.averaged, region.exact, region.shape.rank, region.out_channels) == (True, exact, rank, 4)
    assert region.shape.is_pointwise


def test_a_region_may_end_at_an_average_behind_which_there_is_no_layer():
    (region,), _ = find_regions(analysis_of("a = Conv(x, p) r = Relu(a) y = GlobalAveragePool(r)"))
    assert (region.output, region.averaged, region.shape.rank) == ("y", True, 2)


def test_branches_that_are_averaged_each_are_added_and_joined():
    both = f"{POINTWISE} b = Conv(x, w) n = GlobalAveragePool(b)"
    for join in ("y = Add(m, n)", "y = Concat<axis=1>(m, n)"):
        region = trace_region(analysis_of(f"{both} {join}"), "x", "y")
        assert region.averaged
        assert region.shape.kernel_shape == (1, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{POINTWISE} y = Conv<pads=[1,1,1,1]>(m, k)", "more than one tap, a stride or padding reads an average"),
        (
            "h = Conv<kernel_shape=[8,8]>(x, e) m = GlobalAveragePool(h) y = Add(m, h)",
            "reads an average over the map beside what is none",
        ),
        ("h = Conv(x, e) r = Relu(h) f = Flatten(r) y = Gemm<transB=1>(f, g)", "Flatten node 'f' is no convolution"),
    ],
)
def test_what_is_no_map_of_averages(body, reason):
    weights = {**WEIGHTS, "e": (5, 3, 8, 8)}
    analysis = analyze(parse(f"(float[N,3,8,8] x) => (float[N,C] y) {{ {body} }}", **weights))
    with pytest.raises(NotLinearError, match=reason):
        trace_region(analysis, "x", "y")


def test_a_gate_keeps_the_activation_that_it_averages():
    body = f"{POINTWISE} c = Conv(m, k1) h = Sigmoid(c) v = Mul(r, h) y = Conv(v, q)"
    analysis = analyze(parse(f"(float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {body} }}", **WEIGHTS, k1=(5, 5, 1, 1)))
    regions, reasons = find_regions(analysis)
    assert regions == ()
    assert reasons == {"r": "Mul node 'v' follows it and is no convolution"}
