from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose
from onnxshallow.analysis import analyze
from onnxshallow.convolution import convolve, split
from tests.actions.decompose_cases import (
    DEEPER,
    LAYERS,
    NORMALIZED,
    assert_costs_as_promised,
    assert_same,
    best,
    find,
    initializers,
    layer,
    normalized,
    others,
    plain,
    splits_of,
    whole,
    wide_conv,
)
from tests.networks import applied, assert_near, build, feeds_of, operators, residual, run_exactly, signed


def form_at(model, taps, output="h"):
    """The candidate of a form that saves least."""
    found = (c for c in find(model, every_size=True).candidates if (c.output, c.groups, c.taps) == (output, 1, taps))
    return min(found, key=lambda candidate: candidate.macs)


# Where the action applies.


def test_nothing_is_found_unless_layers_may_be_added():
    analysis = analyze(wide_conv())
    assert Decompose().find(analysis, FindOptions()).candidates == ()
    assert Decompose().find(analysis, DEEPER).candidates


def test_a_layer_is_found_at_many_costs_with_the_closest_form_of_each():
    model = wide_conv()
    found, every = (find(model, every_size=size).candidates for size in (False, True))
    whole_macs = analyze(model).cost.macs
    assert len(found) > 8
    for candidate in found:
        assert candidate in every
        assert whole_macs - candidate.macs <= 0.8 * whole_macs
        assert candidate.left == min(other.left for other in every if other.macs >= candidate.macs)


def test_the_more_is_saved_the_more_is_lacking():
    found = find(wide_conv()).candidates
    for name in ("macs", "left"):
        values = [getattr(candidate, name) for candidate in found]
        assert values == sorted(values)
        assert len(set(values)) == len(values)


def test_every_form_is_there_to_be_asked_for_by_hand():
    every = find(wide_conv(), every_size=True).candidates
    one = {(1, taps) for taps in ("all", "rows", "none", "apart")}
    assert {(c.groups, c.taps) for c in every} == one | {(2, "all"), (4, "all")}
    assert [c.rank for c in plain(wide_conv(), "h")] == list(range(11, 0, -1))  # 12 (36 + 16) is more than 16 * 36
    assert len({c.key for c in every}) == len(every)


def test_groups_may_be_left_out():
    found = find(wide_conv(), every_size=True, grouped=False).candidates
    assert {(c.groups, c.taps) for c in found} == {(1, "all"), (1, "rows"), (1, "none")}


def test_a_matrix_product_has_neither_groups_nor_taps():
    model = build("(float[N,30] x) => (float[N,20] y) { y = MatMul(x, w) }", w=(30, 20))
    assert {(c.groups, c.taps) for c in find(model, every_size=True).candidates} == {(1, "all")}


def test_rows_of_a_kernel_along_one_axis_are_the_whole_kernel():
    model = build("(float[N,8,9] x) => (float[N,8,7] y) { y = Conv(x, w) }", w=(8, 8, 3))
    assert {c.taps for c in find(model, every_size=True).candidates} == {"all", "none", "apart"}


def test_what_a_candidate_saves_is_counted():
    for candidate in plain(wide_conv(), "h"):
        assert candidate.macs == 36 * 16 * 36 - 36 * candidate.rank * (36 + 16)
        assert candidate.params == 16 * 36 - candidate.rank * (36 + 16 + 1)
        assert candidate.depth == -1
        assert candidate.relus == 0
        assert candidate.sites == ()
        assert candidate.exactness == "fitted"


def test_both_errors_are_those_of_the_weights():
    model = wide_conv()
    weight = initializers(model)["w"].reshape(16, -1)
    values = np.linalg.svd(weight, compute_uv=False)
    for candidate in plain(model, "h"):
        assert candidate.left == pytest.approx(np.linalg.norm(values[candidate.rank :]) / np.linalg.norm(values))
        assert candidate.error == pytest.approx(values[candidate.rank] / values[0], rel=1e-6)


def test_the_errors_of_three_layers_are_half_of_what_single_channels_lack():
    model = wide_conv()
    weight = initializers(model)["w"].reshape(16, 4, 9)
    values = np.sort(np.linalg.svd(weight.swapaxes(0, 1), compute_uv=False), axis=None)[::-1]
    largest = np.linalg.svd(weight.reshape(16, -1), compute_uv=False)[0]
    found = [c for c in find(model, every_size=True).candidates if c.taps == "apart"]
    assert len(found) > 8
    for candidate in found:
        lacking = np.linalg.norm(values[candidate.rank :]) / np.linalg.norm(values)
        assert candidate.left == pytest.approx(lacking / 2, rel=1e-6)
        assert candidate.error == pytest.approx(values[candidate.rank] / largest / 2, rel=1e-6)


def test_the_error_of_several_groups_is_that_of_the_worst():
    model = wide_conv()
    weight = initializers(model)["w"].reshape(16, 2, -1)
    halves = [np.linalg.svd(weight[:, group], compute_uv=False) for group in range(2)]
    top = np.linalg.svd(weight.reshape(16, -1), compute_uv=False)[0]
    found = [c for c in find(model, every_size=True).candidates if (c.groups, c.taps) == (2, "all")]
    assert found
    for candidate in found:
        assert candidate.error == pytest.approx(max(half[candidate.rank] for half in halves) / top, rel=1e-6)


def test_the_full_rank_is_that_of_the_inputs_where_these_are_fewer():
    model = build("(float[N,8,5,5] x) => (float[N,64,5,5] y) { y = Conv(x, w) }", w=(64, 8, 1, 1))
    assert [c.rank for c in plain(model, "y")] == [7, 6, 5, 4, 3, 2, 1]


def test_a_layer_of_one_output_is_split_only_where_the_kernel_can_be():
    model = build("(float[N,3,8,8] x) => (float[N,1,6,6] y) { y = Conv(x, w) }", w=(1, 3, 3, 3))
    assert plain(model, "y") == []
    assert {c.taps for c in find(model, every_size=True).candidates} <= {"rows", "none", "apart"}


def test_the_words_for_a_form():
    said = {c.label: c.short for c in find(wide_conv(), every_size=True).candidates}
    assert said[":rank3"] == "split in two, 3 channels between"
    assert said[":rank3:groups2"] == "split in two, 6 channels in 2 groups between"
    assert said[":rank3:rows"] == "split in two, k x 1 first, 3 channels between"
    assert said[":rank3:none"] == "split in two, 1 x 1 first, 3 channels between"
    assert said[":rank3:apart"] == "split in three, kernels apart, 3 channels between"


def test_every_layer_of_a_network_is_found():
    assert list(dict.fromkeys(c.output for c in find(residual()).candidates)) == ["s", "h1", "h2", "h3", "h4", "y"]


def test_the_candidates_of_a_layer_exclude_each_other_and_its_mergers_but_not_the_removal_of_its_activation():
    model = residual()
    for candidate in splits_of(model, "h1"):
        assert candidate.nodes == best(model, "h1").nodes
        clashing = {key for key, other in others(model).items() if other.nodes & candidate.nodes}
        assert "fuse:3x3:r0->s1" in clashing
        assert "linearize:h1->r1" not in clashing


def test_the_nodes_of_a_layer_are_all_that_belong_to_it():
    model = normalized()
    assert [c.nodes for c in find(model).candidates] == [frozenset({0, 1, 2})] * len(find(model).candidates)


# Where it does not.


def not_a_constant():
    return build(
        "(float[N,4,6,6] x, float[16,4,3,3] w) => (float[N,16,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w) }",
    )


LEFT = {
    "groups": lambda: build(
        "(float[N,8,6,6] x) => (float[N,16,6,6] y) { y = Conv<group=2, pads=[1,1,1,1]>(x, w) }", w=(16, 4, 3, 3)
    ),
    "depthwise": lambda: build(
        "(float[N,8,6,6] x) => (float[N,8,6,6] y) { y = Conv<group=8, pads=[1,1,1,1]>(x, w) }", w=(8, 1, 3, 3)
    ),
    "weights that are computed": not_a_constant,
    "a transposed convolution": lambda: build(
        "(float[N,16,6,6] x) => (float[N,16,8,8] y) { y = ConvTranspose(x, w) }", w=(16, 16, 3, 3)
    ),
    "a matrix product over more axes": lambda: build(
        "(float[N,5,32] x) => (float[N,5,32] y) { y = MatMul(x, w) }", w=(32, 32)
    ),
    "a normalization": lambda: build(
        "(float[N,4,6,6] x) => (float[N,4,6,6] y) { y = BatchNormalization(x, s, b, m, v) }",
        **{name: [1.0, 2.0, 3.0, 4.0] for name in "sbmv"},
    ),
    "sizes that are not known": lambda: build(
        "(float[N,4,H,W] x) => (float[N,16,H,W] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", w=(16, 4, 3, 3)
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_a_layer_is_left(name):
    assert find(LEFT[name]()).candidates == ()


def test_sizes_that_are_given_make_it_possible():
    model, shapes = LEFT["sizes that are not known"](), {"x": (1, 4, 6, 6)}
    candidates = find(model, shapes).candidates
    assert [c.macs for c in candidates] == [c.macs for c in find(wide_conv()).candidates]
    result = applied(model, candidates[:1], {}, shapes)
    assert_costs_as_promised(model, result, candidates[:1], shapes)


def test_a_fit_beyond_the_memory_is_not_offered():
    assert find(wide_conv(), memory=1 << 20).candidates
    assert find(wide_conv(), memory=1000).candidates == ()


def test_what_is_computed_from_constants_alone_is_left():
    model = build(
        "(float[N,8,6,6] x) => (float[N,8,6,6] y) { c = Conv<pads=[1,1,1,1]>(k, w) y = Add(x, c) }",
        k=(1, 8, 6, 6),
        w=(8, 8, 3, 3),
    )
    assert analyze(model).cost.macs == 0
    assert find(model).candidates == ()


# The two layers that are written.


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_full_rank_stays_what_it_was(name):
    model = layer(name)
    result = applied(model, [whole(model, "y")], {})
    assert operators(result) in (["Conv", "Conv"], ["Gemm", "Gemm"])
    assert_same(model, result, 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_every_candidate_is_the_closest_of_its_form_and_costs_what_it_promises(name):
    model = layer(name)
    analysis, feeds = analyze(model), feeds_of(model)
    convolution = analysis.layers.convolution(analysis.layers.by_output["y"])
    candidates = {(c.groups, c.taps, c.rank % 2): c for c in find(model, every_size=True).candidates}.values()
    assert len(candidates) >= 2
    for candidate in candidates:
        result = applied(model, [candidate], {})
        parts = split(convolution, candidate.form)
        expected = reduce(lambda x, part: convolve(part, x), parts, feeds["x"])
        assert_near(run_exactly(result, feeds)[0], expected, 1e-5)
        assert_costs_as_promised(model, result, [candidate])
        assert analyze(result).cost.depth == len(parts) == candidate.layers


@st.composite
def convolutions(draw):
    """A model of one convolution over one to three axes, as text, and its weights' shape."""
    axes = draw(st.integers(1, 3))

    def integers(low, high, count=axes):
        return [draw(st.integers(low, high)) for _ in range(count)]

    kernel, channels, outputs = integers(1, 3), draw(st.integers(1, 3)), draw(st.integers(1, 9))
    attributes = {"strides": integers(1, 2), "dilations": integers(1, 2), "pads": integers(0, 2, 2 * axes)}
    written = ", ".join(f"{name}={values}" for name, values in attributes.items())
    sizes, out = ",".join(["5"] * axes), ",".join("DHW"[:axes])
    text = (
        f"(float[N,{channels},{sizes}] x) => (float[N,{outputs},{out}] y) "
        f"{{ c = Conv<{written}>(x, w, b) y = Relu(c) }}"
    )
    return build(text, w=(outputs, channels, *kernel), b=(outputs,), seed=draw(st.integers(0, 99)))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(convolutions())
def test_any_geometry_survives_the_split(model):
    assert_same(model, applied(model, [whole(model, "c")], {}), 1e-5)
    for candidate in find(model).candidates:
        result = applied(model, [candidate], {})
        assert_costs_as_promised(model, result, [candidate])
        feeds = feeds_of(model)
        assert run_exactly(result, feeds)[0].shape == run_exactly(model, feeds)[0].shape


def test_a_layer_of_low_rank_loses_nothing():
    weight = np.einsum("or,rchw->ochw", signed((16, 4)), signed((4, 4, 3, 3), 1)).astype(np.float32)
    model = build("(float[N,4,6,6] x) => (float[N,16,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", w=weight)
    assert_same(model, applied(model, [c for c in plain(model, "y") if c.rank == 4], {}))


def test_normalization_and_padding_are_folded():
    model = normalized()
    result = applied(model, [whole(model, "n")], {})
    assert operators(result) == ["Conv", "Conv", "Relu"]
    assert_same(model, result, 1e-5)
    candidate = best(model, "n")
    assert_costs_as_promised(model, applied(model, [candidate], {}), [candidate])


def test_the_first_layer_has_no_bias_to_pad_around():
    result = applied(wide_conv(), [form_at(wide_conv(), "rows")], {})
    analysis = analyze(result)
    narrow, wide = (analysis.layers.convolution(layer) for layer in analysis.layers)
    np.testing.assert_array_equal(narrow.bias, 0)
    np.testing.assert_array_equal(wide.bias, initializers(wide_conv())["b"])


@pytest.mark.parametrize(("taps", "count"), [("rows", 2), ("apart", 3)])
def test_all_of_its_layers_are_to_be_fitted(taps, count):
    model = wide_conv()
    rewritten = apply_candidates(analyze(model), [form_at(model, taps)], {})
    made = [layer.output for layer in rewritten.analysis.layers]
    assert rewritten.fit == set(made)
    assert len(made) == count
    assert made[-1] == "h"
    assert rewritten.frozen == frozenset()


def test_of_three_layers_the_one_in_the_middle_has_a_kernel_for_each_channel():
    model = build(
        "(float[N,8,9,9] x) => (float[N,16,5,5] y) { y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w) }", w=(16, 8, 3, 3)
    )
    candidate = form_at(model, "apart", "y")
    result = applied(model, [candidate], {})
    narrow, kernels, wide = (analyze(result).layers.convolution(layer) for layer in analyze(result).layers)
    rank = candidate.rank
    assert [part.weight.shape for part in (narrow, kernels, wide)] == [
        (rank, 8, 1, 1),
        (rank, 1, 3, 3),
        (16, rank, 1, 1),
    ]
    assert (kernels.groups, kernels.strides) == (rank, (2, 2))
    assert candidate.macs == 25 * 16 * 8 * 9 - rank * (81 * 8 + 25 * 9 + 25 * 16)
    assert candidate.params == 16 * 8 * 9 - rank * (8 + 9 + 16 + 2)


def test_an_output_of_the_model_that_is_read_as_well_keeps_its_name_and_value():
    model = build(
        "(float[N,4,6,6] x) => (float[N,16,6,6] h, float[N,16,6,6] y) "
        "{ h = Conv<pads=[1,1,1,1]>(x, w, b) y = Relu(h) }",
        w=(16, 4, 3, 3),
        b=(16,),
    )
    result = applied(model, [whole(model, "h")], {})
    assert operators(result) == ["Conv", "Conv", "Relu"]
    assert_same(model, result, 1e-5)


def test_a_normalization_behind_an_output_of_the_model_is_left_apart():
    text = NORMALIZED.replace("(float[N,16,6,6] y)", "(float[N,16,6,6] c, float[N,16,6,6] y)")
    parameters = {name: np.linspace(1, 2, 16).astype(np.float32) for name in "sbmv"}
    model = build(text, w=(16, 4, 3, 3), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), **parameters)
    result = applied(model, [whole(model, "c")], {})
    assert operators(result) == ["Conv", "Conv", "BatchNormalization", "Relu"]
    assert_same(model, result, 1e-5)


# What is not there any more.


# Together with other candidates.


# Carried out: split, fitted, corrected.
