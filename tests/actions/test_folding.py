import pytest

from onnxshallow.actions.folding import feeding_layer, folding_layer, scaled_sum, site_that_makes
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.model.editor import GraphEditor
from tests.networks import assert_near, build, chain, feeds_of, operators, residual, run_exactly

READ_TWICE = "(float[N,3,4,4] x) => (float[N,4,4,4] y) { h = Conv(x, w) r = Relu(h) y = Add(r, h) }"


def of(model, output):
    analysis = analyze(model)
    return analysis, site_that_makes(analysis, output)


def test_a_site_is_found_by_what_it_makes():
    assert of(residual(), "r3")[1].name == "r3"


@pytest.mark.parametrize("tensor", ["h1", "x", "nothing"])
def test_other_tensors_are_made_by_no_activation(tensor):
    with pytest.raises(NotLinearError, match=f"no activation makes tensor '{tensor}'"):
        of(residual(), tensor)


def test_a_layer_that_only_the_site_reads_takes_a_map_in():
    assert folding_layer(*of(chain(), "r")).output == "h"


def test_a_layer_that_others_read_does_not():
    assert folding_layer(*of(build(READ_TWICE, w=(4, 3, 1, 1)), "r")) is None


def test_no_layer_comes_straight_before_a_sum():
    assert folding_layer(*of(residual(), "r2")) is None


def test_one_channel_is_folded_into_nothing():
    """One scale then serves tensors whose channels are not known."""
    model = build("(float[N,3,4,4] x) => (float[N,1,4,4] y) { h = Conv(x, w) y = Relu(h) }", w=(1, 3, 1, 1))
    assert folding_layer(*of(model, "y")) is None


def test_the_later_layer_that_feeds_a_sum_is_fitted():
    assert feeding_layer(*of(residual(), "r2")).output == "h2"
    two = "(float[N,3,4,4] x) => (float[N,4,4,4] y) { a = Conv(x, v) b = Conv(x, w) s = Add(a, b) y = Relu(s) }"
    assert feeding_layer(*of(build(two, v=(4, 3, 1, 1), w=(4, 3, 1, 1)), "y")).output == "b"


SUMS = {
    "no sum": "h = Conv(x, w) y = Relu(h)",
    "three operands": "h = Conv(x, w) t = Tanh(h) u = Conv(x, w) s = Sum(h, t, u) y = Relu(s)",
    "read elsewhere": "h = Conv(x, w) u = Tanh(x2) s = Add(h, u) r = Relu(s) y = Add(r, s)",
    "broadcast": "h = Conv(x, w) g = GlobalAveragePool(x2) s = Add(h, g) y = Relu(s)",
    "no layer": "t = Tanh(x2) s = Add(t, x2) y = Relu(s)",
    "a layer that others read": "h = Conv(x, w) t = Tanh(h) s = Add(h, t) y = Relu(s)",
}


@pytest.mark.parametrize("name", SUMS)
def test_no_layer_can_be_fitted_to_a_sum_with(name):
    inputs = "float[N,3,4,4] x" + ", float[N,4,4,4] x2" * ("x2" in SUMS[name])
    weights = {"w": (4, 3, 1, 1)} if "Conv" in SUMS[name] else {}
    model = build(f"({inputs}) => (float[N,4,4,4] y) {{ {SUMS[name]} }}", **weights)
    analysis = analyze(model)
    assert feeding_layer(analysis, analysis.sites[0]) is None


OTHER_SIDES = {
    "another layer": ("a = Conv(x2, v) b = Conv(x, w) s = Add(a, b) y = Relu(s)", 0),
    "a layer that is read elsewhere": ("a = Conv(x2, v) b = Conv(x, w) s = Add(a, b) r = Relu(s) y = Add(r, a)", 1),
    "no layer": ("a = Tanh(x2) b = Conv(x, w) s = Add(a, b) y = Relu(s)", 1),
    "an input": ("b = Conv(x, w) s = Add(x2, b) y = Relu(s)", 1),
}


@pytest.mark.parametrize("name", OTHER_SIDES)
def test_the_other_side_of_a_sum_is_scaled_where_no_layer_can_be(name):
    body, scaled = OTHER_SIDES[name]
    weights = {"w": (4, 3, 1, 1), "v": (4, 4, 1, 1)} if "v)" in body else {"w": (4, 3, 1, 1)}
    model = build(f"(float[N,3,4,4] x, float[N,4,4,4] x2) => (float[N,4,4,4] y) {{ {body} }}", **weights)
    analysis = analyze(model)
    (site,) = analysis.sites
    editor = GraphEditor(model)
    scaled_sum(editor, analysis, site, feeding_layer(analysis, site), site.source)
    result = editor.finish()
    assert operators(result).count("Mul") == scaled
    feeds = feeds_of(model)
    assert_near(run_exactly(result, feeds)[0], run_exactly(model, feeds)[0])  # for now by one


def test_a_sum_may_make_what_the_activation_after_it_does():
    text = "(float[N,3,4,4] x) => (float[N,4,4,4] y) { a = Conv(x, v) b = Conv(x, w) s = Add(a, b) y = Relu(s) }"
    model = build(text, v=(4, 3, 1, 1), w=(4, 3, 1, 1))
    analysis = analyze(model)
    editor = GraphEditor(model)
    scaled_sum(editor, analysis, analysis.sites[0], feeding_layer(analysis, analysis.sites[0]), "y")
    assert operators(editor.finish()) == ["Conv", "Conv", "Add"]
