from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose, Split
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.convolution import convolve, split
from onnxshallow.rewriting.realize import realize
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.metrics import relative_error
from tests.networks import (
    applied,
    assert_near,
    build,
    calibration_of,
    chain,
    feeds_of,
    operators,
    residual,
    run_exactly,
    signed,
    smooth,
    some_statistics,
    statistics_of,
    with_affine,
)

DEEPER = FindOptions(deeper=True)


def find(model, shapes=None, **options):
    return Decompose().find(analyze(model, shapes), replace(DEEPER, **options))


def ranks(model, output, **options):
    return [candidate.rank for candidate in find(model, **options).candidates if candidate.output == output]


def splits_of(model, output):
    return [candidate for candidate in find(model).candidates if candidate.output == output]


def best(model, output):
    """The candidate of highest rank that splits the layer that makes `output`."""
    return splits_of(model, output)[0]


def whole(model, output):
    """A candidate whose rank leaves the layer what it is; none that would save anything."""
    (layer,) = (layer for layer in analyze(model).layers if layer.output == output)
    rank = min(layer.weight_shape[0], int(np.prod(layer.weight_shape[1:])))
    return Split("decompose", (), layer.source, output, rank=rank, nodes=frozenset(layer.nodes))


def others(model, kernel="auto"):
    analysis, options = analyze(model), FindOptions(kernel)
    return {c.key: c for action in (Fuse(), Linearize()) for c in action.find(analysis, options).candidates}


def assert_costs_as_promised(model, result, candidates, shapes=None):
    before, after = analyze(model, shapes).cost, analyze(result, shapes).cost
    assert before.macs - after.macs == sum(candidate.macs for candidate in candidates)
    assert before.linear_layers - after.linear_layers == sum(candidate.depth for candidate in candidates)
    assert before.relus - after.relus == sum(candidate.relus for candidate in candidates)


def assert_same(model, result, tolerance=1e-4, samples=2):
    feeds = feeds_of(model, samples)
    for actual, expected in zip(run_exactly(result, feeds), run_exactly(model, feeds), strict=True):
        assert_near(actual, expected, tolerance)


def wide_conv(outputs=16, **options):
    """One 3x3 convolution that can save much, and an activation."""
    return build(
        f"(float[N,4,6,6] x) => (float[N,{outputs},6,6] y) {{ h = Conv<pads=[1,1,1,1]>(x, w, b) y = Relu(h) }}",
        w=(outputs, 4, 3, 3),
        b=(outputs,),
        **options,
    )


# Where the action applies.


def test_nothing_is_found_unless_layers_may_be_added():
    analysis = analyze(wide_conv())
    assert Decompose().find(analysis, FindOptions()).candidates == ()
    assert len(Decompose().find(analysis, DEEPER).candidates) == 3


def test_a_layer_is_found_with_three_ranks():
    found = find(wide_conv())
    assert [c.key for c in found.candidates] == [f"decompose:rank{rank}:x->h" for rank in (8, 6, 4)]
    assert found.refusals == {}


def test_what_a_candidate_saves_is_counted():
    for candidate in find(wide_conv()).candidates:
        assert candidate.macs == 36 * 16 * 36 - 36 * candidate.rank * (36 + 16)
        assert candidate.depth == -1
        assert candidate.relus == 0
        assert candidate.sites == ()
        assert candidate.exactness == "fitted"


def test_the_smaller_the_rank_the_more_is_saved():
    saved = [candidate.macs for candidate in find(wide_conv()).candidates]
    assert saved == sorted(saved)
    assert len(set(saved)) == 3


def test_the_full_rank_is_that_of_the_inputs_where_these_are_fewer():
    model = build("(float[N,8,5,5] x) => (float[N,64,5,5] y) { y = Conv(x, w) }", w=(64, 8, 1, 1))
    assert ranks(model, "y") == [4, 3, 2]


def test_a_rank_that_saves_less_than_a_fifth_is_not_listed():
    model = build("(float[N,8,5,5] x) => (float[N,8,5,5] y) { y = Conv(x, w) }", w=(8, 8, 1, 1))
    assert ranks(model, "y") == [3, 2]  # a rank of 4 saves nothing, one of 3 a quarter


def test_ranks_that_are_equal_are_listed_once():
    model = build("(float[N,30] x) => (float[N,2] y) { y = MatMul(x, w) }", w=(30, 2))
    assert ranks(model, "y") == [1]


def test_a_layer_of_one_output_is_not_split():
    model = build("(float[N,3,8,8] x) => (float[N,1,6,6] y) { y = Conv(x, w) }", w=(1, 3, 3, 3))
    assert ranks(model, "y") == []


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
    assert ranks(wide_conv(), "h", memory=1 << 20) == [8, 6, 4]
    assert ranks(wide_conv(), "h", memory=1000) == []


def test_what_is_computed_from_constants_alone_is_left():
    model = build(
        "(float[N,8,6,6] x) => (float[N,8,6,6] y) { c = Conv<pads=[1,1,1,1]>(k, w) y = Add(x, c) }",
        k=(1, 8, 6, 6),
        w=(8, 8, 3, 3),
    )
    assert analyze(model).cost.macs == 0
    assert find(model).candidates == ()


# The two layers that are written.

NORMALIZED = """(float[N,4,6,6] x) => (float[N,16,6,6] y) {
    p = Pad(x, pads)
    c = Conv(p, w)
    n = BatchNormalization(c, s, b, m, v)
    y = Relu(n)
}"""


def normalized():
    parameters = {name: np.linspace(1, 2, 16).astype(np.float32) for name in "sbmv"}
    return build(NORMALIZED, w=(16, 4, 3, 3), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), **parameters)


LAYERS = {
    "padded": (
        "(float[N,4,6,6] x) => (float[N,16,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }",
        {"w": (16, 4, 3, 3), "b": (16,)},
    ),
    "strided and padded unevenly": (
        "(float[N,4,7,9] x) => (float[N,16,H,W] y) { y = Conv<pads=[2,0,1,1], strides=[2,3]>(x, w, b) }",
        {"w": (16, 4, 3, 2), "b": (16,)},
    ),
    "dilated, without a bias": (
        "(float[N,4,9,9] x) => (float[N,16,H,W] y) { y = Conv<dilations=[2,3]>(x, w) }",
        {"w": (16, 4, 3, 3)},
    ),
    "padded by itself": (
        '(float[N,4,7,6] x) => (float[N,16,4,3] y) { y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w, b) }',
        {"w": (16, 4, 3, 3), "b": (16,)},
    ),
    "pointwise and strided": (
        "(float[N,24,6,6] x) => (float[N,16,3,3] y) { y = Conv<strides=[2,2]>(x, w, b) }",
        {"w": (16, 24, 1, 1), "b": (16,)},
    ),
    "more outputs than inputs": (
        "(float[N,1,6,6] x) => (float[N,40,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }",
        {"w": (40, 1, 3, 3), "b": (40,)},
    ),
    "one axis": (
        "(float[N,4,12] x) => (float[N,16,L] y) { y = Conv<pads=[2,1], strides=[2]>(x, w, b) }",
        {"w": (16, 4, 5), "b": (16,)},
    ),
    "three axes": (
        "(float[N,2,4,5,4] x) => (float[N,12,D,H,W] y) { y = Conv<pads=[1,0,1,0,1,1]>(x, w, b) }",
        {"w": (12, 2, 2, 3, 2), "b": (12,)},
    ),
    "gemm": (
        "(float[N,20] x) => (float[N,12] y) { y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b) }",
        {"w": (12, 20), "b": (12,)},
    ),
    "gemm of a fixed batch": (
        "(float[4,20] x) => (float[4,12] y) { y = Gemm(x, w, b) }",
        {"w": (20, 12), "b": (12,)},
    ),
    "matmul and add": (
        "(float[N,20] x) => (float[N,12] y) { c = MatMul(x, w) y = Add(c, b) }",
        {"w": (20, 12), "b": (12,)},
    ),
}


def layer(name):
    text, weights = LAYERS[name]
    return build(text, **weights)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_full_rank_stays_what_it_was(name):
    model = layer(name)
    result = applied(model, [whole(model, "y")], {})
    assert operators(result) in (["Conv", "Conv"], ["Gemm", "Gemm"])
    assert_same(model, result, 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_every_candidate_is_the_closest_pair_of_its_rank_and_costs_what_it_promises(name):
    model = layer(name)
    analysis, feeds = analyze(model), feeds_of(model)
    convolution = analysis.layers.convolution(analysis.layers.by_output["y"])
    candidates = find(model).candidates
    assert len(candidates) >= 2
    for candidate in candidates:
        result = applied(model, [candidate], {})
        narrow, wide = split(convolution, candidate.rank)
        assert_near(run_exactly(result, feeds)[0], convolve(wide, convolve(narrow, feeds["x"])), 1e-5)
        assert_costs_as_promised(model, result, [candidate])
        assert analyze(result).cost.depth == 2


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
    assert_same(model, applied(model, splits_of(model, "y")[-1:], {}))


def test_normalization_and_padding_are_folded():
    model = normalized()
    result = applied(model, [whole(model, "n")], {})
    assert operators(result) == ["Conv", "Conv", "Relu"]
    assert_same(model, result, 1e-5)
    candidate = best(model, "n")
    assert_costs_as_promised(model, applied(model, [candidate], {}), [candidate])


def test_the_first_layer_has_no_bias_to_pad_around():
    result = applied(wide_conv(), [best(wide_conv(), "h")], {})
    analysis = analyze(result)
    narrow, wide = (analysis.layers.convolution(layer) for layer in analysis.layers)
    np.testing.assert_array_equal(narrow.bias, 0)
    np.testing.assert_array_equal(wide.bias, initializers(wide_conv())["b"])


def test_both_layers_are_to_be_fitted():
    model = wide_conv()
    rewritten = apply_candidates(analyze(model), [best(model, "h")], {})
    first, second = rewritten.analysis.layers
    assert rewritten.fit == {first.output, second.output}
    assert second.output == "h"
    assert rewritten.frozen == frozenset()


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


SHARED = """(float[N,8,6,6] x) => (float[N,8,6,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w, b)
    r = Relu(a)
    y = Conv<pads=[1,1,1,1]>(r, w, b)
}"""


def initializers(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_shared_weights_stay_for_their_other_reader():
    model = build(SHARED, w=(8, 8, 3, 3), b=(8,))
    result = applied(model, [best(model, "a")], {})
    for name in ("w", "b"):
        np.testing.assert_array_equal(initializers(result)[name], initializers(model)[name])
    assert result.graph.node[-1] == model.graph.node[-1]
    assert_same(model, applied(model, [whole(model, "a")], {}), 1e-5)


def test_shared_weights_go_once_nobody_reads_them():
    model = build(SHARED, w=(8, 8, 3, 3), b=(8,))
    result = applied(model, [best(model, "a"), best(model, "y")], {})
    assert not {"w", "b"} & set(initializers(result))
    assert len(initializers(result)) == 8


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_the_element_type_stays(dtype):
    kind = {np.float16: "float16", np.float64: "double"}[dtype]
    model = build(
        f"({kind}[N,4,6,6] x) => ({kind}[N,16,6,6] y) {{ c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) }}",
        w=signed((16, 4, 3, 3)).astype(dtype),
    )
    result = applied(model, [whole(model, "c")], {})
    assert {array.dtype for array in initializers(result).values()} == {np.dtype(dtype)}
    feeds = {"x": signed((2, 4, 6, 6)).astype(dtype)}
    (actual,), (expected,) = (ReferenceEvaluator(m).run(None, feeds) for m in (result, model))
    assert actual.dtype == dtype
    assert_near(actual, expected, 1e-2 if dtype == np.float16 else 1e-9)


@pytest.mark.parametrize(("opset", "ir_version"), [(7, 4), (11, 6), (13, 7), (21, 10)])
def test_versions_stay(opset, ir_version):
    model = wide_conv(opset=opset, ir_version=ir_version)
    assert_same(model, applied(model, [whole(model, "h")], {}), 1e-5)


def test_new_weights_are_inputs_as_well_in_version_three():
    model = wide_conv()
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    result = apply_candidates(analyze(model), [best(model, "h")], {}).model
    onnx.checker.check_model(result, full_check=True)
    assert {value.name for value in result.graph.input} == {"x", *initializers(result)}


def test_names_that_are_taken_are_left_to_their_tensors():
    model = build(
        "(float[N,4,6,6] x) => (float[N,16,6,6] y) "
        "{ h = Conv<pads=[1,1,1,1]>(x, w) h_rank16 = Relu(h) y = Tanh(h_rank16) }",
        w=(16, 4, 3, 3),
    )
    result = applied(model, [whole(model, "h")], {})
    assert operators(result) == ["Conv", "Conv", "Relu", "Tanh"]
    assert result.graph.node[0].output == ["h_rank16_2"]
    assert_same(model, result, 1e-5)


def test_the_tensor_between_and_its_node_are_named_after_the_layer_and_the_rank():
    model = wide_conv()
    model.graph.node[0].name = "stem"
    for candidate in splits_of(model, "h"):
        narrow, wide, _ = applied(model, [candidate], {}).graph.node
        assert [narrow.name] == list(narrow.output) == [f"stem_rank{candidate.rank}"]
        assert (wide.name, list(wide.output)) == ("stem", ["h"])


def test_a_node_name_that_is_taken_is_left_to_its_node():
    model = wide_conv()
    candidate = best(model, "h")
    model.graph.node[0].name, model.graph.node[1].name = "stem", f"stem_rank{candidate.rank}"
    result = applied(model, [best(model, "h")], {})
    assert [node.name for node in result.graph.node] == [
        f"stem_rank{candidate.rank}_2", "stem", f"stem_rank{candidate.rank}",
    ]  # fmt: skip
    assert result.graph.node[0].output == [f"stem_rank{candidate.rank}"]


def test_metadata_and_untouched_nodes_come_out_as_they_went_in():
    model = residual()
    model.producer_name, model.doc_string = "maker", "words"
    onnx.helper.set_model_props(model, {"key": "value"})
    result = applied(model, [best(model, "h1")], {})
    assert (result.producer_name, result.doc_string) == ("maker", "words")
    assert list(result.metadata_props) == list(model.metadata_props)
    assert list(result.graph.node[:2]) == list(model.graph.node[:2])
    assert list(result.graph.node[4:]) == list(model.graph.node[3:])


def test_what_was_split_can_be_split_again():
    model = wide_conv(32)
    once = applied(model, [best(model, "h")], {})
    twice = applied(once, [best(once, "h")], {})
    assert operators(twice) == ["Conv", "Conv", "Conv", "Relu"]
    assert run_exactly(twice, feeds_of(model))[0].shape == (2, 32, 6, 6)


def test_the_first_of_two_layers_can_be_split_again():
    model = wide_conv(32)
    once = applied(model, [best(model, "h")], {})
    twice = applied(once, [whole(once, analyze(once).layers.all[0].output)], {})
    assert operators(twice) == ["Conv", "Conv", "Conv", "Relu"]
    assert_same(once, twice, 1e-5)


# What is not there any more.


def test_a_layer_that_is_gone_cannot_be_split():
    model = residual()
    merged = apply_candidates(analyze(model), [others(model)["fuse:3x3:r0->s1"]], some_statistics(analyze(model)))
    with pytest.raises(NotLinearError, match="no layer makes tensor 'h1'"):
        apply_candidates(merged.analysis, [best(model, "h1")], {})


def test_a_candidate_without_a_rank_is_refused():
    with pytest.raises(NotLinearError):
        apply_candidates(analyze(chain()), [Split("decompose", (), "x", "nowhere", rank=1)], {})


# Together with other candidates.


@pytest.mark.parametrize("turn", [1, -1])
def test_all_layers_of_a_network_are_split_at_once(turn):
    model = residual()
    chosen = [best(model, output) for output in ("s", "h1", "h2", "h3", "h4", "y")]
    result = applied(model, chosen[::turn], {})
    assert operators(result).count("Conv") == 10
    assert operators(result).count("Gemm") == 2
    assert_costs_as_promised(model, result, chosen)
    full = applied(model, [whole(model, candidate.output) for candidate in chosen][::turn], {})
    assert_same(model, full)


@pytest.mark.parametrize("turn", [1, -1])
def test_the_second_of_two_layers_takes_up_the_map_of_an_activation(turn):
    model = chain()
    removal = others(model)["linearize:h->r"]
    statistics = some_statistics(analyze(model))
    chosen = [whole(model, "h"), removal][::turn]
    result = applied(model, chosen, statistics)
    assert operators(result) == ["Conv", "Conv", "Conv"]
    feeds = feeds_of(model)
    assert_near(run_exactly(result, feeds)[0], run_exactly(with_affine(model, statistics), feeds)[0], 1e-5)
    first = analyze(result).layers.all[0].output
    assert apply_candidates(analyze(model), chosen, statistics).fit == {first, "r"}


def test_a_split_before_a_residual_sum_goes_with_the_removal_of_its_activation():
    model = residual()
    statistics = some_statistics(analyze(model))
    chosen = [whole(model, "h2"), others(model)["linearize:s1->r2"]]
    gone = applied(model, chosen[1:], statistics)
    result = applied(model, chosen, statistics)
    feeds = feeds_of(model)
    assert_near(run_exactly(result, feeds)[0], run_exactly(gone, feeds)[0], 1e-5)
    assert "h2" in apply_candidates(analyze(model), chosen, statistics).fit


@pytest.mark.parametrize("turn", [1, -1])
def test_splits_mergers_and_removals_cost_together_what_they_promise(turn):
    model = residual()
    found = others(model)
    chosen = [found["fuse:3x3:r0->s1"], best(model, "h3"), found["linearize:h3->r3"], best(model, "y")]
    result = applied(model, chosen[::turn], some_statistics(analyze(model)))
    assert_costs_as_promised(model, result, chosen)
    assert [op for op in operators(result) if op in ("Conv", "Gemm")] == ["Conv"] * 5 + ["Gemm"] * 2


# Carried out: split, fitted, corrected.


def carried_out(model, chosen, feeds, **options):
    """The error of the realized plan on the held-out samples, and what was realized."""
    analysis, calibration = analyze(model), calibration_of(feeds, batch=32)
    result = realize(analysis, chosen, statistics_of(analysis, calibration), calibration, **options)
    onnx.checker.check_model(result.model, full_check=True)
    expected = run_batches(model, calibration.batches[calibration.selection], 1)
    return relative_error(expected[0], result.outputs[0]), result


def plain_error(model, chosen, feeds):
    """The error of what is written before anything is fitted."""
    analysis, calibration = analyze(model), calibration_of(feeds, batch=32)
    plain = apply_candidates(analysis, chosen, statistics_of(analysis, calibration)).model
    expected, outputs = (run_batches(m, calibration.batches[calibration.selection], 1)[0] for m in (model, plain))
    return relative_error(expected, outputs)


@pytest.mark.parametrize("output", ["h1", "h2", "h3"])
def test_a_fitted_split_is_closer_than_the_split_of_the_weights(output):
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [best(model, output)]
    fitted, result = carried_out(model, chosen, feeds, correction=False)
    assert fitted < 0.8 * plain_error(model, chosen, feeds)
    assert_costs_as_promised(model, result.model, chosen)


def test_with_few_samples_a_split_is_still_closer_than_that_of_the_weights():
    model, unseen = wide_conv(), {"x": smooth(64, 4, 6, seed=1)}
    analysis, chosen = analyze(model), [splits_of(wide_conv(), "h")[-1]]
    calibration = calibration_of({"x": smooth(8, 4, 6)}, batch=1)
    assert calibration.fit.fewest_rows * 36 > calibration.fit_batches * 36  # unknowns of the layer, and pixels
    fitted = realize(analysis, chosen, {}, calibration).model
    plain = apply_candidates(analysis, chosen, {}).model
    expected, *made = (run_batches(m, [unseen], 1)[0] for m in (model, fitted, plain))
    errors = [relative_error(expected, outputs) for outputs in made]
    assert errors[0] < 0.9 * errors[1]


def test_the_correction_of_later_layers_lowers_the_error_further():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [best(model, "h1"), best(model, "h3")]
    uncorrected, _ = carried_out(model, chosen, feeds, correction=False)
    corrected, _ = carried_out(model, chosen, feeds)
    assert corrected < 0.95 * uncorrected


def test_a_split_of_low_rank_is_recovered():
    weight = np.einsum("or,rchw->ochw", signed((16, 4)), signed((4, 4, 3, 3), 1)).astype(np.float32)
    model = build(
        "(float[N,4,6,6] x) => (float[N,16,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w) y = Relu(h) }", w=weight
    )
    error, result = carried_out(model, splits_of(model, "h")[-1:], {"x": smooth(64, 4, 6)})
    assert error < 1e-3
    assert operators(result.model) == ["Conv", "Conv", "Relu"]


def test_the_first_layer_is_a_step_and_the_second_another():
    steps = []
    carried_out(
        chain(), [best(chain(), "h")], {"x": smooth(64, 3, 8)}, correction=False, step=lambda: steps.append(1)
    )
    assert len(steps) == 2


def test_a_plan_of_all_actions_is_carried_out():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    found = others(model)
    chosen = [found["fuse:3x3:r0->s1"], best(model, "h3"), found["linearize:h3->r3"], best(model, "y")]
    error, result = carried_out(model, chosen, feeds)
    assert error < 0.3 * plain_error(model, chosen, feeds)
    assert_costs_as_promised(model, result.model, chosen)
    same = {"x": smooth(4, 3, 8, seed=9)}
    assert_near(run_exactly(result.model, same)[0], run_batches(result.model, [same], 1)[0])


@pytest.mark.parametrize("output", ["s", "h3"])
def test_a_split_goes_with_an_exact_merger(output):
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    chosen = [others(model, "exact")["fuse:5x5:border:r0->s1"], best(model, output)]
    uncorrected, _ = carried_out(model, chosen, feeds, correction=False)
    error, result = carried_out(model, chosen, feeds)
    assert operators(result.model).count("Conv") == 5
    assert result.composition_error is not None
    assert error < 0.85 * uncorrected


def test_the_same_inputs_give_the_same_model():
    made = [
        carried_out(residual(), [best(residual(), "h1")], {"x": smooth(64, 3, 8)})[1].model.SerializeToString(
            deterministic=True
        )
        for _ in range(2)
    ]
    assert made[0] == made[1]


def test_a_network_that_was_split_before_is_split_and_fitted_again():
    model, feeds = residual(1), {"x": smooth(256, 3, 8)}
    once = carried_out(model, [best(model, output) for output in ("h1", "h2", "h3")], feeds)[1].model
    again = {c.output: c for c in find(once).candidates}
    assert {"h1", "h2", "h3"} & set(again)
    chosen = [best(once, output) for output in again]
    error, result = carried_out(once, chosen, feeds)
    assert error < 0.8 * plain_error(once, chosen, feeds)
    assert_costs_as_promised(once, result.model, chosen)


def test_half_precision_is_carried_out():
    model = build(
        "(float16[N,4,6,6] x) => (float16[N,16,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w) y = Relu(h) }",
        w=(signed((16, 4, 3, 3)) / 6).astype(np.float16),
    )
    feeds = {"x": smooth(64, 4, 6).astype(np.float16)}
    chosen = [best(model, "h")]
    error, result = carried_out(model, chosen, feeds)
    assert {array.dtype for array in initializers(result.model).values()} == {np.dtype(np.float16)}
    assert error < 0.9 * plain_error(model, chosen, feeds)
