"""Lowered models compute what the intermediate form does, and activate what is kept."""

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.model.network import Network
from onnxshallow.model.orders import orders_of, with_orders
from onnxshallow.model.scales import scales_of, with_scales
from onnxshallow.private.operations import count_operations
from onnxshallow.rewriting.lowering.lower import lower
from onnxshallow.validation.parting import differences
from onnxshallow.validation.peaks import Peaks
from tests.graphs import assert_same_function, feeds, frozen, ops, parse, run_plain, signed
from tests.networks import RESIDUAL, RESIDUAL_WEIGHTS
from tests.partials import intermediate, partial
from tests.rewriting.lowering.lower_cases import (
    CHAIN,
    KEPT,
    MIXED,
    MOBILE,
    MOBILE_WEIGHTS,
    WEIGHTS,
    chain,
    lowered,
    other,
    residual_partials,
    value,
)


def test_kept_squared_and_other_channels_go_separate_ways():
    result = lowered(chain(), [partial("h", "r", KEPT, **MIXED)])
    assert ops(result) == ["Conv", "Split", "Relu", "Mul", "Add", "Concat", "Conv"]
    shapes = onnx.shape_inference.infer_shapes(result).graph.value_info
    (relu,) = (shape for shape in shapes if shape.name == other(result, "Relu").output[0])
    assert relu.type.tensor_type.shape.dim[1].dim_value == 2
    assert count_operations(analyze(result)).squares == 36


def test_values_in_the_graph_do_not_count():
    first, second = partial("h", "r", KEPT, linear=0.3), partial("h", "r", KEPT, linear=0.6, constant=0.1)
    model = chain()
    assert frozen(lower(intermediate(model, [first]), [second], "split")) == frozen(lowered(model, [second]))


@pytest.mark.parametrize(("kept", "expected"), [([1] * 5, ["Conv", "Relu", "Conv"]), ([0] * 5, ["Conv", "Conv"])])
def test_empty_parts_are_left_out(kept, expected):
    assert ops(lowered(chain(), [partial("h", "r", kept, linear=0.5, constant=0.2)])) == expected


def test_no_partials_change_nothing():
    analysis = analyze(chain())
    assert lower(analysis, [], "split").SerializeToString() == analysis.network.model.SerializeToString()


def test_an_output_that_no_partial_activation_makes_is_refused():
    with pytest.raises(NotLinearError, match="'r'"):
        lower(analyze(chain()), [partial("h", "r", KEPT)], "split")


def test_channels_that_lie_together_already_leave_the_layers_as_they_are():
    result = lowered(chain(), [partial("h", "r", [1, 1, 1, 0, 0], linear=1)])
    assert ops(result) == ["Conv", "Split", "Relu", "Concat", "Conv"]
    assert {"w1", "b1", "w2", "b2"} <= {tensor.name for tensor in result.graph.initializer}


def test_dead_channels_leave_the_network():
    result = lowered(chain(), [partial("h", "r", KEPT)])
    assert ops(result) == ["Conv", "Relu", "Conv"]
    assert value(result, other(result, "Conv").input[1]).shape == (2, 3, 3, 3)


def test_one_dead_channel_stays_where_all_are_dead():
    result = lowered(chain(), [partial("h", "r", [0] * 5)])
    assert value(result, other(result, "Conv").input[1]).shape == (1, 3, 3, 3)


def test_a_channel_of_constants_is_not_dead():
    result = lowered(chain(), [partial("h", "r", KEPT, constant=0.2)])
    assert value(result, other(result, "Conv").input[1]).shape == (5, 3, 3, 3)


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_dead_channels_leave_through_poolings(pool):
    text = CHAIN.replace("y = Conv<pads=[1,1,1,1]>(r", f"p = {pool}<kernel_shape=[2,2]>(r) y = Conv(p")
    model = parse(text.replace("float[N,4,6,6] y", "float[N,4,3,3] y"), **WEIGHTS)
    result = lowered(model, [partial("h", "r", KEPT)])
    assert ops(result) == ["Conv", "Relu", pool, "Conv"]
    assert value(result, result.graph.node[-1].input[1]).shape == (4, 2, 3, 3)


def test_stated_shapes_of_smaller_tensors_are_dropped():
    model = chain()
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, ["N", 5, 6, 6]))
    kept, smaller = partial("h", "r", KEPT, linear=1), partial("h", "r", KEPT)
    assert "h" in [info.name for info in lowered(model, [kept]).graph.value_info]
    assert "h" not in [info.name for info in lowered(model, [smaller]).graph.value_info]


def test_nested_masks_of_a_residual_stream_need_no_gather():
    masks = [0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 0, 1], [0, 1, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1]
    result = lowered(
        parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(*masks, square=0.1, linear=0.5, constant=0.2)
    )
    assert "Gather" not in ops(result)
    assert ops(result).count("Split") == 5


def test_crossing_masks_of_a_residual_stream_are_gathered_once():
    masks = [1, 1, 0, 0, 0, 0], [1] * 6, [1, 0, 1, 0, 1, 0], [1] * 6, [1, 1, 0, 0, 0, 0]
    result = lowered(parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(*masks, linear=0.5))
    assert ops(result).count("Gather") == 3
    assert ops(result).count("Split") == 2


@pytest.mark.parametrize("opset", [9, 11, 18])
@pytest.mark.parametrize("linear", [0.0, 0.5])
def test_shortcuts_that_add_channels_are_gathered_once(linear, opset):
    text = """(float[N,3,6,6] x) => (float[N,2,3,3] y) {
        c = Conv(x, w1)  r = Relu(c)  d = Conv<strides=[2,2]>(r, w2)
        s = MaxPool<kernel_shape=[1,1], strides=[2,2]>(r)  p = Pad(s, pads)
        t = Add(d, p)  u = Relu(t)  y = Conv(u, w3)
    }"""
    pads = np.array([0, 2, 0, 0, 0, 1, 0, 0])
    if opset < 11:
        text = text.replace("Pad(s, pads)", "Pad<pads=[0,2,0,0,0,1,0,0]>(s)")
    model = parse(text, opset=opset, w1=(4, 3, 1, 1), w2=(7, 4, 1, 1), w3=(2, 7, 1, 1), pads=pads)
    partials = [
        partial("c", "r", [0, 1, 0, 1], linear=linear),
        partial("t", "u", [0, 1, 0, 1, 0, 1, 1], linear=linear, constant=0.1),
    ]
    assert ops(lowered(model, partials)).count("Gather") == 1


FIRE = """(float[N,3,6,6] x) => (float[N,2,6,6] y) {
    a = Conv(x, w1)  r = Relu(a)  b = Conv<pads=[1,1,1,1]>(x, w2)  s = Relu(b)  j = Concat<axis=1>(r, s)  last
}"""
FIRE_WEIGHTS = {"w1": (4, 3, 1, 1), "w2": (5, 3, 3, 3), "w3": (2, 9, 1, 1), "k": (9, 1, 1)}
CROSSING = [1, 0, 0, 1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("linear", [0.0, 0.5])
def test_layers_that_read_a_concat_take_its_order(linear):
    model = parse(FIRE.replace("last", "y = Conv(j, w3)"), **FIRE_WEIGHTS)
    partials = [partial("a", "r", [0, 1, 0, 1], linear=linear), partial("b", "s", KEPT, linear=linear)]
    assert "Gather" not in ops(lowered(model, partials))


def test_a_concat_before_a_site_is_gathered_once():
    model = parse(FIRE.replace("last", "t = Add(j, k) u = Relu(t) y = Conv(u, w3)"), **FIRE_WEIGHTS)
    partials = [partial("a", "r", [0, 1, 0, 1]), partial("t", "u", CROSSING, linear=0.5, constant=0.1)]
    assert ops(lowered(model, partials)).count("Gather") == 1


def test_the_last_channels_of_a_concat_may_be_dead_after_a_site():
    model = parse(FIRE.replace("last", "t = Add(j, k) u = Relu(t) y = Conv(u, w3)"), **FIRE_WEIGHTS)
    result = lowered(model, [partial("t", "u", [1, 1, 1, 1, 1, 1, 0, 0, 0])])
    assert value(result, result.graph.node[-1].input[1]).shape == (2, 6, 1, 1)


def test_a_channel_that_is_dead_in_all_of_a_stream_leaves_it():
    masks = [1, 1, 1, 0, 1, 0], [1] * 6, [1, 1, 1, 1, 0, 0], [1] * 6, [1, 1, 1, 1, 1, 0]
    result = lowered(parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(*masks))
    assert value(result, other(result, "Gemm").input[1]).shape == (5, 5)


def test_depthwise_streams_share_one_order():
    partials = [partial("a", "r", KEPT, linear=0.5), partial("d", "s", [1, 0, 1, 1, 0], square=0.2, constant=0.1)]
    result = lowered(parse(MOBILE, **MOBILE_WEIGHTS), partials)
    assert "Gather" not in ops(result)
    assert ops(result).count("Clip") == 2


def test_a_channel_after_a_depthwise_layer_is_dead_if_nothing_is_added():
    partials = [partial("a", "r", KEPT), partial("d", "s", KEPT)]
    result = lowered(parse(MOBILE, **MOBILE_WEIGHTS), partials)
    assert [node.attribute[1].i for node in result.graph.node if node.op_type == "Conv"] == [1, 2, 1]
    biased = lowered(parse(MOBILE, **MOBILE_WEIGHTS | {"bd": np.ones(5, np.float32)}), partials[:1])
    unbiased = lowered(
        parse(MOBILE, **MOBILE_WEIGHTS | {"bd": np.zeros(5, np.float32)}), partials[:1], relus=2 * 36 * 2
    )
    assert [len(value(model, model.graph.node[0].input[1])) for model in (biased, unbiased)] == [5, 2]


def test_what_else_reads_z_gets_it_unchanged():
    text = CHAIN.replace("y = Conv<pads=[1,1,1,1]>(r, w2, b2)", "t = Conv(r, w2, b2) u = Conv(h, w2) y = Add(t, u)")
    model = parse(text.replace("float[N,4,6,6] y", "float[N,4,4,4] y"), **WEIGHTS)
    result = lowered(model, [partial("h", "r", KEPT, **MIXED)])
    assert ops(result).count("Mul") == 1
    assert "Gather" not in ops(result)


@pytest.mark.parametrize("form", ["split", "prelu"])
def test_a_site_before_a_graph_output_keeps_its_order(form):
    model = parse("(float[N,3,6,6] x) => (float[N,5,6,6] r) { h = Conv<pads=[1,1,1,1]>(x, w1, b1) r = Relu(h) }",
                  w1=(5, 3, 3, 3), b1=(5,))  # fmt: skip
    result = lowered(model, [partial("h", "r", KEPT, **MIXED)], form)
    assert ops(result).count("Gather") == {"split": 4, "prelu": 3}[form]


def test_a_site_between_an_input_and_an_output():
    model = parse("(float[N,3,4] x) => (float[N,3,4] y) { y = Relu(x) }")
    assert ops(lowered(model, [partial("x", "y", [1, 1, 0], linear=0.5)])) == ["Split", "Relu", "Mul", "Concat"]
    assert ops(lowered(model, [partial("x", "y", [0, 0, 0], linear=1.0)])) == ["Identity"]


@pytest.mark.parametrize(
    "flat", ["f = Flatten(r)", "f = Reshape(r, rows)", "p = GlobalAveragePool(r) f = Flatten(p)",
             "f = ReduceMean<axes=[2,3], keepdims=0>(r)"]
)  # fmt: skip
@pytest.mark.parametrize("kept_linear", [0.0, 0.5])
def test_flattened_channels_are_blocks_of_columns(flat, kept_linear):
    text = f"""(float[N,3,3,3] x) => (float[N,4] y) {{
        h = Conv(x, w1, b1)  r = Relu(h)  {flat}  y = Gemm<transB=1>(f, w2)
    }}"""
    size = 45 if "r, rows" in flat or "Flatten(r)" in flat else 5
    rows = np.array([-1, 45], np.int64)
    model = parse(text, w1=(5, 3, 1, 1), b1=(5,), w2=(4, size), rows=rows)
    result = lowered(model, [partial("h", "r", KEPT, linear=kept_linear)])
    assert "Gather" not in ops(result)
    assert ("Split" in ops(result)) == (kept_linear > 0)


def test_batch_normalizations_and_constants_are_permuted_too():
    text = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
        c = Conv(x, w1)  n = BatchNormalization(c, s, t, m, v)  r = Relu(n)
        a = Add(r, k)  q = PRelu(a, slope)  b = BatchNormalization(q, s, t, m, v)  y = Conv(b, w2)
    }"""
    ones = np.random.default_rng(0).uniform(0.5, 1.5, 5).astype(np.float32)
    model = parse(
        text, w1=(5, 3, 1, 1), s=(5,), t=(5,), m=(5,), v=ones, k=(5, 1, 1), slope=(5, 1, 1), w2=(4, 5, 1, 1)
    )
    result = lowered(model, [partial("n", "r", KEPT, **MIXED), partial("a", "q", KEPT, linear=1)])
    assert "Gather" not in ops(result)


@pytest.mark.parametrize("form", ["split", "prelu"])
def test_linear_layers_without_spatial_axes(form):
    text = "(float[N,3] x) => (float[N,4] y) { h = Gemm<transB=1>(x, w1, b1) r = Relu(h) y = MatMul(r, w2) }"
    lowered(parse(text, w1=(5, 3), b1=(5,), w2=(5, 4)), [partial("h", "r", KEPT, **MIXED)], form)


@pytest.mark.parametrize("form", ["split", "prelu"])
@pytest.mark.parametrize(("sizes", "ones"), [("5", (1,)), ("3,4,3", (1, 1, 1))])
def test_other_numbers_of_spatial_axes(sizes, ones, form):
    text = f"(float[N,3,{sizes}] x) => (float[N,4,{sizes}] y) {{ h = Conv(x, w1, b1) r = Relu(h) y = Conv(r, w2) }}"
    model = parse(text, w1=(5, 3, *ones), b1=(5,), w2=(4, 5, *ones))
    lowered(model, [partial("h", "r", KEPT, **MIXED)], form)


def test_sites_of_a_lowered_model_have_channels():
    result = lowered(parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(
        [1, 1, 0, 0, 0, 0], [1] * 6, [1, 0, 1, 0, 1, 0], [1] * 6, [1, 1, 0, 0, 0, 0], linear=0.5))  # fmt: skip
    assert [site.channels for site in analyze(result).sites] == [2, 6, 3, 6, 2]


@pytest.mark.parametrize("square", [-0.2, 1e-3, [0, 0.2, 0, -0.3, 1e-2]])
def test_parabolas_of_any_shape(square):
    linear = [0, 0.5, 0, 0.7, -1]
    result = lowered(chain(), [partial("h", "r", KEPT, square=square, linear=linear, constant=0.3)])
    assert count_operations(analyze(result)).squares == 3 * 36


@pytest.mark.parametrize("form", ["split", "prelu"])
def test_half_precision(form):
    text = CHAIN.replace("float[", "float16[")
    weights = {name: array.astype(np.float16) for name, array in _arrays(chain()).items()}
    lowered(parse(text, **weights), [partial("h", "r", KEPT, **MIXED)], form)


def _arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("form", ["split", "prelu"])
@pytest.mark.parametrize(("opset", "ir"), [(9, 3), (9, 4), (11, 6), (12, 7), (13, 7), (18, 8), (22, 10)])
def test_operator_sets(opset, ir, form):
    model = chain(opset=opset, ir=ir, as_inputs=ir < 4)
    lowered(model, [partial("h", "r", KEPT, **MIXED)], form)


def test_open_sizes_stay_open():
    model = parse(CHAIN.replace("x)", "x)").replace("N,3,6,6", "N,3,H,W").replace("N,4,6,6", "N,4,H,W"), **WEIGHTS)
    partials = [partial("h", "r", KEPT, **MIXED)]
    before = intermediate(model, partials, {"x": [1, 3, 6, 6]})
    result = lower(before, partials, "split")
    for size in (6, 9):
        values = feeds(model, batch=3, sizes={"H": size, "W": 7})
        (actual,), (expected,) = run_plain(result, values), run_plain(before.network.model, values)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_sites_in_a_row():
    model = parse(CHAIN.replace("r = Relu(h)", "q = Relu(h) r = Relu(q)"), **WEIGHTS)
    lowered(model, [partial("q", "r", [0] * 5, linear=1.0), partial("h", "q", [0] * 5, linear=1.0)])
    lowered(
        model, [partial("q", "r", KEPT, linear=0.5), partial("h", "q", [0, 0, 1, 0, 0], linear=0.5, constant=0.1)]
    )


def test_names_and_notes_of_nodes_are_kept():
    model = chain()
    model.graph.node[1].name, model.graph.node[1].doc_string = "act", "a note"
    model.metadata_props.add(key="license", value="none")
    result = lowered(model, [partial("h", "r", KEPT, linear=0.5)])
    relu = other(result, "Relu")
    assert (relu.name, relu.doc_string, result.metadata_props[0].value) == ("act", "a note", "none")


def test_parabolas_after_sums_need_no_factors():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    result = lowered(
        parse(RESIDUAL, **RESIDUAL_WEIGHTS), residual_partials(*masks, square=0.2, linear=0.5, constant=0.1)
    )
    products = [node for node in result.graph.node if node.op_type == "Mul"]
    assert len(products) == 5
    assert all(node.input[0] == node.input[1] for node in products)


def test_the_model_says_what_its_channels_were_multiplied_by():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    partials = residual_partials(*masks, square=0.2, linear=0.5, constant=0.1)
    model = parse(RESIDUAL, **RESIDUAL_WEIGHTS)
    once = lowered(model, partials)
    before = intermediate(model, partials)
    names = ["r0", "r1", "r2", "r3", "r4"]
    assert [name for name in names if name in scales_of(once)] == ["r0", "r2", "r4"]  # no factor between two layers
    natural, taken_back = (Peaks(network, names, 1)(feeds(model)) for network in (before.network, Network(once)))
    np.testing.assert_allclose(taken_back, natural, rtol=1e-4)


def test_what_channels_were_multiplied_by_before_is_multiplied_on():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    partials = residual_partials(*masks, square=0.2, linear=0.5, constant=0.1)
    model = parse(RESIDUAL, **RESIDUAL_WEIGHTS)
    noted = with_scales(model, {"r1": np.array([1.0, 2, 3, 4, 5, 6])})
    plain, again = (scales_of(lower(intermediate(each, partials), partials, "split")) for each in (model, noted))
    assert "r1" not in plain
    assert sorted(again["r1"].tolist()) == [1, 2, 3, 4, 5, 6]
    assert set(again["r1"][:3]) in ({1, 3, 5}, {2, 4, 6})  # in the order of the parts
    np.testing.assert_allclose(again["r2"], plain["r2"])


def test_the_model_says_in_which_order_its_channels_are():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    partials = residual_partials(*masks, square=0.2, linear=0.5, constant=0.1)
    model = parse(RESIDUAL, **RESIDUAL_WEIGHTS)
    once = lowered(model, partials)
    whole = intermediate(model, partials).network
    names = {"r0", "r1", "r2", "r3", "r4"}  # what squares read is shifted as well
    found = {each.name: each.relative_error for each in differences(whole, Network(once), [feeds(model)])}
    assert names <= orders_of(once).keys()
    assert max(found[name] for name in names) < 1e-5


def test_orders_of_before_are_ordered_on():
    masks = [[1, 0, 1, 0, 1, 0]] * 5
    partials = residual_partials(*masks, square=0.2, linear=0.5, constant=0.1)
    model = parse(RESIDUAL, **RESIDUAL_WEIGHTS)
    noted = with_orders(model, {"r1": np.array([1, 0, 3, 2, 5, 4])})
    plain, again = (
        orders_of(lower(intermediate(each, partials), partials, "split"))["r1"] for each in (model, noted)
    )
    assert again.tolist() == [{0: 1, 1: 0, 2: 3, 3: 2, 4: 5, 5: 4}[place] for place in plain.tolist()]


def test_dead_channels_are_left_out_without_any_partial_activation():
    w, b = signed("w1", (5, 3, 3, 3)), signed("b1", (5,))
    w[[1, 4]], b[[1, 4]] = 0, 0
    model = parse(CHAIN, w1=w, b1=b, w2=(4, 5, 3, 3), b2=(4,))
    result = lower(analyze(model), [], "split", {"h", "r"})
    assert_same_function(result, model)
    assert analyze(result).layers.all[0].weight_shape == (3, 3, 3, 3)
    untouched = lower(analyze(model), [], "split")
    assert analyze(untouched).layers.all[0].weight_shape == (5, 3, 3, 3)
