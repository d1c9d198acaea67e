"""Splits as graphs: weights, names and what is untouched; splits of what was split; splits with other candidates."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.decompose import Split
from onnxshallow.analysis import NotLinearError, analyze
from tests.actions.decompose_cases import (
    assert_costs_as_promised,
    assert_same,
    best,
    initializers,
    others,
    plain,
    splits_of,
    whole,
    wide_conv,
)
from tests.networks import (
    applied,
    assert_near,
    build,
    chain,
    feeds_of,
    operators,
    residual,
    run_exactly,
    signed,
    some_statistics,
    with_affine,
)

SHARED = """(float[N,8,6,6] x) => (float[N,8,6,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w, b)
    r = Relu(a)
    y = Conv<pads=[1,1,1,1]>(r, w, b)
}"""


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


def test_the_tensors_between_and_their_nodes_are_named_after_the_layer_and_the_rank():
    model = wide_conv()
    model.graph.node[0].name = "stem"
    for candidate in (best(model, "h"), *splits_of(model, "h")):
        *first, last, _ = applied(model, [candidate], {}).graph.node
        names = [f"stem_rank{candidate.form.between}{number}" for number in ("", "_2")]
        assert [node.name for node in first] == [node.output[0] for node in first] == names[: candidate.layers - 1]
        assert (last.name, list(last.output)) == ("stem", ["h"])


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
    once = applied(model, plain(model, "h")[:1], {})
    twice = applied(once, [whole(once, analyze(once).layers.all[0].output)], {})
    assert operators(twice) == ["Conv", "Conv", "Conv", "Relu"]
    assert_same(once, twice, 1e-5)


def test_a_layer_that_is_gone_cannot_be_split():
    model = residual()
    merged = apply_candidates(analyze(model), [others(model)["fuse:3x3:r0->s1"]], some_statistics(analyze(model)))
    with pytest.raises(NotLinearError, match="no layer makes tensor 'h1'"):
        apply_candidates(merged.analysis, [best(model, "h1")], {})


def test_a_candidate_without_a_rank_is_refused():
    with pytest.raises(NotLinearError):
        apply_candidates(analyze(chain()), [Split("decompose", (), "x", "nowhere", rank=1)], {})


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
