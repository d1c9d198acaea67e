import onnx
import pytest

from onnxshallow.analysis import analyze, find_regions
from onnxshallow.errors import ModelError, UsageError
from tests.graphs import frozen, parse
from tests.networks import build

TEXT = """(float[N,3,H,W] x, bool q) => (float[N,4,h,w] y) { z = Conv(x, w) r = Relu(z)
    y = If(q) <then_branch = a () => (float[N,4,h,w] k) { k = Relu(r) },
               else_branch = b () => (float[N,4,h,w] l) { l = Neg(r) }> }"""


def test_parts_and_indices():
    model = parse(TEXT, w=(4, 3, 3, 3))
    before = frozen(model)
    analysis = analyze(model, {"x": (1, 3, 8, 8)})
    assert frozen(model) == before
    assert [layer.name for layer in analysis.layers] == ["z"]
    assert [site.name for site in analysis.sites] == ["r", "y/k"]
    assert {index: site.name for index, site in analysis.site_of_node.items()} == {1: "r"}
    assert analysis.site_by_name["y/k"].refusal is not None
    assert (analysis.cost.relus, analysis.cost.macs) == (2 * 4 * 36, 4 * 27 * 36)
    assert analysis.cost is analysis.cost


def test_a_site_may_be_the_first_node():
    analysis = analyze(parse("(float[N,3,4,4] x) => (float[N,3,4,4] y) { r = Relu(x) y = Neg(r) }"))
    assert {index: site.name for index, site in analysis.site_of_node.items()} == {0: "r"}


def test_errors_are_passed_on():
    model = parse(TEXT, w=(4, 3, 3, 3))
    with pytest.raises(UsageError):
        analyze(model, {"y": (1,)})
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError):
        analyze(model)


@pytest.mark.parametrize("text", ["y = Neg(x)", "y = Relu(x)", "y = mine.Thing(x)", "y = Conv(x, w)"])
def test_poor_models(text):
    model = parse(f"(float[N,3,4,4] x) => (float[N,3,4,4] y) {{ {text} }}", domains=["mine"], w=(3, 3, 1, 1))
    analysis = analyze(model)
    assert len(analysis.sites) + len(analysis.layers) <= 1
    assert find_regions(analysis)[0] == ()


def deep_residual(blocks: int) -> onnx.ModelProto:
    body = ["t0 = Conv(x, w)"]
    for i in range(blocks):
        body.append(f"a{i} = Conv(t{i}, w) b{i} = Relu(a{i}) c{i} = Conv(b{i}, w) t{i + 1} = Add(c{i}, t{i})")
    body.append(f"y = Add(t{blocks}, t0)")
    return parse(f"(float[N,2,4,4] x) => (float[N,2,4,4] y) {{ {' '.join(body)} }}", w=(2, 2, 1, 1))


def test_deep_networks_with_a_long_shortcut_end_in_time():
    """Neither the recursion limit nor a composite of the whole network gets in the way."""
    analysis = analyze(deep_residual(150))
    regions, _ = find_regions(analysis)
    assert {name for region in regions for name in region.sites} == {site.name for site in analysis.sites}


def test_an_analysis_is_short_in_a_line_and_a_table_in_a_notebook():
    found = analyze(build("(float[N,2,4,4] x) => (float[N,2,4,4] y) { y = Relu(x) }"))
    assert repr(found) == "<Analysis: 1 sites, 32 ReLUs, 0 MACs, depth 0>"
    assert found._repr_html_().count("<tr>") == 2
