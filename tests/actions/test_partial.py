"""What the network computes that masks and parabolas leave, before anything is fitted."""

from dataclasses import replace

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.partial import keep_in_part, mask_refusal, partial_candidates, partly_refused
from onnxshallow.actions.registry import BUILT_IN
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.fitting.moments import Parabola
from onnxshallow.model.editor import GraphEditor
from tests.networks import (
    ACTIVATED,
    activated,
    applied,
    assert_near,
    build,
    chain,
    feeds_of,
    operators,
    residual,
    signed,
    some_statistics,
)
from tests.properties.cases import with_outputs

GEMM = """(float[N,3,4,4] x) => (float[N,5] y) {
    f = Flatten(x)
    h = Gemm<transB=1>(f, w1, b1)
    r = Relu(h)
    y = Gemm<transB=1>(r, w2)
}"""
READ_TWICE = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
    h = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(h)
    y = Sub(r, h)
}"""
CONV = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {{
    h = Conv<pads=[1,1,1,1]>(x, w1)
    r = {}
    y = Conv(r, w2)
}}"""
POOLED = """(float[N,3,6,6] x) => (float[N,4,3,3] r) {
    h = Conv<pads=[1,1,1,1]>(x, w1)
    p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(h)
    r = Relu(p)
}"""
WEIGHTS = {"w1": (4, 3, 3, 3), "w2": (4, 4, 1, 1)}

# By name: the model, the site's output, and whether a layer before it makes affine maps already.
MODELS = {
    "convolution": (lambda: chain(), "r", True),
    "a vector": (lambda: build(GEMM, w1=(6, 48), b1=(6,), w2=(5, 6)), "r", True),
    "a sum of a layer and a shortcut": (lambda: residual(), "r2", False),
    "read elsewhere": (lambda: build(READ_TWICE, w1=(4, 3, 3, 3)), "r", True),
    "leaky": (lambda: build(CONV.format("LeakyRelu<alpha=0.2>(h)"), **WEIGHTS), "r", True),
    "slopes": (lambda: build(CONV.format("PRelu(h, s)"), **WEIGHTS, s=signed((4, 1, 1))), "r", True),
    "clip": (
        lambda: build(CONV.format("Clip(h, zero, one)"), **WEIGHTS, zero=np.array(0.0, "f"), one=np.array(1.0, "f")),
        "r",
        True,
    ),
    "a pooling before it, and an output": (lambda: build(POOLED, w1=(4, 3, 3, 3)), "r", True),
}
OPTIONS = {
    "mask": FindOptions(granularity="channel", every_size=True),
    "quadratic": FindOptions(granularity="channel", polynomials=True, every_size=True),
}


def values_of(model, feeds, *names):
    return [np.asarray(v, np.float64) for v in ReferenceEvaluator(with_outputs(model, names)).run(None, feeds)]


def found_at(analysis, action, output, options):
    (acting,) = (each for each in BUILT_IN if each.name == action)
    return [c for c in acting.find(analysis, options).candidates if c.output == output]


def mapped(values, z):
    return values.reshape(values.shape + (1,) * (z.ndim - 1 - values.ndim))


@pytest.mark.parametrize("action", ["mask", "quadratic"])
@pytest.mark.parametrize("name", MODELS)
def test_kept_channels_are_activated_and_others_are_what_the_statistics_says(name, action):
    make, output, maps = MODELS[name]
    model = make()
    analysis = analyze(model)
    statistics, feeds = some_statistics(analysis), feeds_of(model, 3)
    site = next(site for site in analysis.sites if site.output == output)
    z, active = values_of(model, feeds, site.source, output)
    found = statistics[site.name]
    candidates = found_at(analysis, action, output, OPTIONS[action])
    assert [c.kept for c in candidates] == list(range(site.channels))
    quadratic_error = 0
    for candidate in candidates:
        rewritten = applied(model, [candidate], statistics)
        (partial,) = apply_candidates(analysis, [candidate], statistics).partials
        assert partial.kept.sum() == candidate.kept
        bends = partial.squared
        quadratic_error += int(bends.sum())
        line = mapped(found.scale, z) * z + mapped(found.shift, z) if maps else z
        curve = found.parabola
        parabola = (mapped(curve.square, z) * z + mapped(curve.linear, z)) * z + mapped(curve.constant, z)
        other = np.where(mapped(bends, z), parabola, line)
        (made,) = values_of(rewritten, feeds, output)
        assert_near(made, np.where(mapped(partial.kept, z), active, other), 1e-5)
    assert (quadratic_error > 0) == (action == "quadratic")


@pytest.mark.parametrize("name", ["convolution", "a sum of a layer and a shortcut", "read elsewhere", "slopes"])
def test_pixels_are_activated_one_by_one(name):
    make, output, _ = MODELS[name]
    model = make()
    analysis = analyze(model)
    statistics, feeds = some_statistics(analysis), feeds_of(model, 3)
    site = next(site for site in analysis.sites if site.output == output)
    candidate = found_at(analysis, "mask", output, FindOptions(granularity="pixel"))[2]
    rewritten = applied(model, [candidate], statistics)
    (partial,) = apply_candidates(analysis, [candidate], statistics).partials
    assert partial.kept.sum() == candidate.kept
    z, active = values_of(model, feeds, site.source, output)
    found = statistics[site.name].pixels
    (made,) = values_of(rewritten, feeds, output)
    assert_near(made, np.where(partial.kept, active, found.scale * z + found.shift), 1e-5)


def test_a_layer_whose_output_is_read_elsewhere_stays_as_it_is():
    model = MODELS["read elsewhere"][0]()
    analysis = analyze(model)
    candidate = found_at(analysis, "mask", "r", OPTIONS["mask"])[2]
    rewritten = apply_candidates(analysis, [candidate], some_statistics(analysis))
    assert not rewritten.fit
    assert model.graph.node[0] in rewritten.model.graph.node
    feeds = feeds_of(model, 2)
    (before,), (after,) = (values_of(each, feeds, "h") for each in (model, rewritten.model))
    np.testing.assert_array_equal(after, before)


def test_a_layer_that_alone_feeds_the_site_is_fitted():
    analysis = analyze(chain())
    candidate = found_at(analysis, "mask", "r", OPTIONS["mask"])[2]
    assert apply_candidates(analysis, [candidate], some_statistics(analysis)).fit == {"h"}


def test_a_layer_that_feeds_a_sum_is_fitted_and_the_other_side_can_be_scaled():
    analysis = analyze(residual())
    candidate = found_at(analysis, "mask", "r2", OPTIONS["mask"])[2]
    rewritten = apply_candidates(analysis, [candidate], some_statistics(analysis))
    assert rewritten.fit == {"h2"}
    assert operators(rewritten.model).count("Mul") == 1
    (partial,) = rewritten.partials
    assert np.array_equal(partial.passed, ~partial.kept)


def test_a_sum_whose_channels_all_bend_is_not_scaled():
    analysis = analyze(residual())
    statistics = some_statistics(analysis)
    candidate = found_at(analysis, "quadratic", "r2", OPTIONS["quadratic"])[0]
    rewritten = apply_candidates(analysis, [candidate], statistics)
    assert rewritten.partials[0].squared.all()
    assert rewritten.fit == {"h2"}
    assert "r2_shortcut" not in {name for node in rewritten.model.graph.node for name in node.output}


def test_partials_come_in_graph_order():
    analysis = analyze(residual())
    chosen = [found_at(analysis, "mask", output, OPTIONS["mask"])[3] for output in ("r3", "r0", "r2")]
    rewritten = apply_candidates(analysis, chosen, some_statistics(analysis))
    assert [partial.output for partial in rewritten.partials] == ["r0", "r2", "r3"]


def test_a_site_of_unknown_type_is_an_error():
    model = chain()
    analysis = analyze(model)
    site = replace(analysis.sites[0], dtype=None)
    kept = np.ones(5, dtype=bool)
    with pytest.raises(NotLinearError, match="element type of 'r' is not known"):
        keep_in_part(GraphEditor(model), analysis, site, kept, Parabola(*np.zeros((3, 5))))


# Why not.


def refusal(model, pixels=False, shapes=None):
    analysis = analyze(model, shapes)
    return partly_refused(analysis, analysis.sites[0], pixels)


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("text", ["Relu(h)", "LeakyRelu(h)", "Clip(h, zero, six)"])
def test_activations_of_channels_can_be_kept_in_part(text, pixels):
    assert refusal(activated(text), pixels) is None


def test_one_channel_has_no_part():
    model = build("(float[N,3,6,6] x) => (float[N,1,6,6] y) { h = Conv(x, w) y = Relu(h) }", w=(1, 3, 1, 1))
    assert refusal(model) == "it has one channel only"


def test_a_tensor_without_channels_has_no_part():
    model = build("(float[N,6,6] x) => (float[N,6,6] y) { y = Relu(x) }")
    assert refusal(model) == "it has one channel only"


def test_where_takes_no_floats_before_opset_9():
    assert refusal(activated(opset=9)) is None
    assert str(refusal(activated(opset=8))).startswith("opset 8 is older than 9; convert the model")


def test_a_site_that_cannot_be_removed_cannot_be_kept_in_part():
    model = build("(int32[1,3,4,4] x) => (int32[1,3,4,4] y) { y = Relu(x) }")
    assert refusal(model) == analyze(model).sites[0].refusal
    assert refusal(model) is not None


def test_a_slope_that_callers_may_override_is_refused():
    text = "(float[N,3,6,6] x, float[4,1,1] s) => (float[N,4,6,6] y) { h = Conv(x, w) y = PRelu(h, s) }"
    assert str(refusal(build(text, w=(4, 3, 1, 1)))).startswith("its slope is no constant")
    assert str(refusal(build(text, w=(4, 3, 1, 1), s=(4, 1, 1)))).startswith("its slope is no constant")
    analysis = analyze(build(text.replace(", float[4,1,1] s", ""), w=(4, 3, 1, 1), s=(4, 1, 1)))
    assert mask_refusal(analysis, analysis.sites[0]) is None


def test_pixels_need_fixed_sizes():
    model = build("(float[N,3,H,W] x) => (float[N,4,H,W] y) { h = Conv(x, w) y = Relu(h) }", w=(4, 3, 1, 1))
    shapes = {"x": [1, 3, 6, 6]}
    assert refusal(model, shapes=shapes) is None
    assert str(refusal(model, pixels=True, shapes=shapes)).startswith("pixels need inputs of fixed height and width")


def test_pixels_need_a_first_axis_of_samples():
    text = "(float[N,3,6,6] x) => (float[M,6] y) { f = Reshape(x, s) h = Gemm(f, w) y = Relu(h) }"
    model = build(text, w=(6, 6), s=np.array([-1, 6]))
    assert refusal(model) is None
    assert str(refusal(model, pixels=True)).startswith("its first axis holds more than the samples")


def candidates(model, counts, *, name="mask", squares=False, **options):
    analysis = analyze(model)
    (site,) = analysis.sites
    chosen = FindOptions(granularity="channel", **options)
    return partial_candidates(name, analysis, site, chosen, counts, squares=squares)


def test_each_count_is_a_candidate_that_saves_what_is_not_kept():
    found = candidates(activated(), [1, 3])
    assert [(c.kept, c.relus, c.squares, c.pixels) for c in found] == [(1, 108, 0, False), (3, 36, 0, False)]
    assert [c.key for c in found] == ["mask:kept1:h->y", "mask:kept3:h->y"]
    assert {c.place for c in found} == {"mask:h->y"}
    assert all(c.nodes == {1} and c.exactness == "fitted" and c.depth == c.macs == 0 for c in found)


def test_parabolas_add_a_square_for_each_activation_that_goes():
    assert [(c.relus, c.squares) for c in candidates(activated(), [0, 2], name="quadratic", squares=True)] == [
        (144, 144),
        (72, 72),
    ]


def test_counts_are_sorted_single_and_leave_something_to_save():
    assert [c.kept for c in candidates(activated(), [3, 1, 3, 4, 7, -1])] == [1, 3]


def test_every_size_lists_every_number_of_channels():
    assert [c.kept for c in candidates(activated(), [2], every_size=True)] == [0, 1, 2, 3]


def pixel_candidates(model, counts, **options):
    analysis = analyze(model)
    (site,) = analysis.sites
    return partial_candidates(
        "mask", analysis, site, FindOptions(granularity="pixel", **options), counts, pixels=True
    )


def test_pixels_are_elements_of_a_sample():
    found = pixel_candidates(activated(), [18, 72])
    assert [(c.kept, c.relus, c.pixels) for c in found] == [(18, 126, True), (72, 72, True)]
    assert found[0].key == "mask:kept18pixels:h->y"


def test_every_size_of_pixel_masks_is_a_grid_with_the_counts_of_the_search():
    kept = [c.kept for c in pixel_candidates(activated(), [11, 141], every_size=True)]
    assert {0, 2, 142, 11, 141} <= set(kept)
    assert len(kept) == 72 + 2


def test_parabolas_are_by_channel_where_masks_are_by_pixel():
    analysis = analyze(activated())
    options = FindOptions(granularity="pixel", polynomials=True)
    (found,) = partial_candidates("quadratic", analysis, analysis.sites[0], options, [1])
    assert (found.kept, found.pixels, found.relus) == (1, False, 108)


def half_active(**options):
    """A PRelu that lets two of four channels pass already, and so activates 72 elements."""
    slope = np.array([1, 0, 1, 0.2], dtype=np.float32).reshape(4, 1, 1)
    return build(ACTIVATED.format("PRelu(h, s)"), w=(4, 3, 3, 3), s=slope, **options)


def test_channels_that_pass_already_are_not_counted_as_saved():
    """The channels that are kept may be those that are activated."""
    assert [(c.kept, c.relus) for c in candidates(half_active(), [0, 1, 2, 3])] == [(0, 72), (1, 36)]
    assert [(c.relus, c.squares) for c in candidates(half_active(), [1], name="quadratic", squares=True)] == [
        (36, 108)
    ]
    assert [(c.kept, c.relus) for c in pixel_candidates(half_active(), [18, 72])] == [(18, 54)]
