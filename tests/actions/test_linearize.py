from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.linearize import Linearize, Removal
from onnxshallow.analysis import NotLinearError, analyze
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


def find(model):
    return Linearize().find(analyze(model), FindOptions())


def assert_removed(model, *, seed=0):
    """Removing any one site gives the model with that activation replaced by a * z + b; returns the last result."""
    statistics = some_statistics(analyze(model), seed)
    feeds = feeds_of(model, 3, seed)
    result = None
    for candidate in find(model).candidates:
        result = applied(model, [candidate], statistics)
        expected = with_affine(model, {name: statistics[name] for name in candidate.sites})
        for actual, wanted in zip(run_exactly(result, feeds), run_exactly(expected, feeds), strict=True):
            assert_near(actual, wanted, 1e-5)
    assert result is not None
    return result


# Where the action applies.

ACTIVATIONS = {
    "relu": "y = Relu(h)",
    "clip": "y = Clip(h, zero, six)",
    "clip from below": "y = Clip(h, zero)",
    "leaky": "y = LeakyRelu<alpha=0.1>(h)",
    "prelu": "y = PRelu(h, slope)",
}


def activated(text, **options):
    weights = {"zero": np.float32(0), "six": np.float32(6), "slope": signed((4, 1, 1))}
    used = {name: np.asarray(value) for name, value in weights.items() if name in text}
    return build(
        f"(float[N,3,6,6] x) => (float[N,4,6,6] y) {{ h = Conv<pads=[1,1,1,1]>(x, w, b) {text} }}",
        w=(4, 3, 3, 3),
        b=(4,),
        **used,
        **options,
    )


@pytest.mark.parametrize("text", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_every_kind_of_activation_is_found(text):
    (candidate,) = find(activated(text)).candidates
    assert candidate == Removal(
        "linearize", ("y",), "h", "y", relus=4 * 6 * 6, nodes=frozenset({1}), exactness="fitted"
    )


def test_every_site_of_a_network_is_found():
    found = find(residual())
    assert [candidate.output for candidate in found.candidates] == ["r0", "r1", "r2", "r3", "r4"]
    assert not found.refusals


def test_the_key_names_the_place():
    assert find(chain()).candidates[0].key == "linearize:h->r"


# Why it does not apply elsewhere: one model a reason.


def without_shapes(text):
    model = build(text)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    return model


REFUSED = {
    "older than 7": lambda: build("(float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu(x) }", opset=6),
    "bounds are no constants": lambda: build(
        "(float[1,3,4,4] x, float high) => (float[1,3,4,4] y) { y = Clip(x, zero, high) }", zero=np.float32(0)
    ),
    "element type is int32": lambda: build("(int32[1,3,4,4] x) => (int32[1,3,4,4] y) { y = Relu(x) }"),
    "no channel axis": lambda: build("(float[5] x) => (float[5] y) { y = Relu(x) }"),
    "give the open axes with --input-shape": lambda: build(
        "(float[1,3,H,W] x) => (float[1,3,H,W] y) { y = Relu(x) }"
    ),
    "not even the number of axes": lambda: without_shapes("(float[1,3,4] x) => (float[1,3,4] y) { y = Relu(x) }"),
    "inside the body of If": lambda: build(
        """(float[1,3] x, bool c) => (float[1,3] y) {
            y = If (c) <
                then_branch = then () => (float[1,3] a) { a = Relu(x) },
                else_branch = other () => (float[1,3] b) { b = Identity(x) }
            >
        }"""
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_site_is_refused_for_a_reason(reason):
    found = find(REFUSED[reason]())
    assert found.candidates == ()
    (given,) = found.refusals.values()
    assert reason in given


# A layer before the activation takes up the affine map.


@pytest.mark.parametrize("text", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_a_convolution_takes_up_the_map(text):
    assert operators(assert_removed(activated(text))) == ["Conv"]


def test_all_sites_of_a_chain_can_be_removed_at_once():
    model = build(
        """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1)
            b = Relu(a)
            c = Conv<pads=[1,1,1,1]>(b, w2)
            y = Relu(c)
        }""",
        w1=(4, 3, 3, 3),
        w2=(4, 4, 3, 3),
    )
    statistics = some_statistics(analyze(model))
    result = applied(model, find(model).candidates, statistics)
    feeds = feeds_of(model)
    assert operators(result) == ["Conv", "Conv"]
    assert_near(run_exactly(result, feeds)[0], run_exactly(with_affine(model, statistics), feeds)[0], 1e-5)


LAYERS = {
    "normalized": (
        """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
            c = Conv<pads=[1,1,1,1]>(x, w)
            n = BatchNormalization(c, s, b, m, v)
            y = Relu(n)
        }""",
        {"w": (4, 3, 3, 3), **{name: [1.0, 2.0, 3.0, 4.0] for name in "sbmv"}},
        ["Conv"],
    ),
    "padded before": (
        """(float[N,3,6,6] x) => (float[N,4,6,7] y) {
            p = Pad(x, pads)
            c = Conv(p, w)
            y = Relu(c)
        }""",
        {"w": (4, 3, 3, 3), "pads": np.array([0, 0, 1, 2, 0, 0, 1, 1])},
        ["Conv"],
    ),
    "auto-padded and strided": (
        """(float[N,3,7,6] x) => (float[N,4,4,3] y) {
            c = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w)
            y = Relu(c)
        }""",
        {"w": (4, 3, 3, 3)},
        ["Conv"],
    ),
    "grouped and dilated": (
        """(float[N,4,8,8] x) => (float[N,6,6,6] y) {
            c = Conv<group=2, dilations=[2,2], pads=[1,1,1,1]>(x, w)
            y = Relu(c)
        }""",
        {"w": (6, 2, 3, 3)},
        ["Conv"],
    ),
    "one axis": (
        "(float[N,3,9] x) => (float[N,4,5] y) { c = Conv<strides=[2], pads=[1,1]>(x, w, b) y = Relu(c) }",
        {"w": (4, 3, 3), "b": (4,)},
        ["Conv"],
    ),
    "three axes": (
        "(float[N,2,4,4,4] x) => (float[N,3,3,3,3] y) { c = Conv(x, w, b) y = Relu(c) }",
        {"w": (3, 2, 2, 2, 2), "b": (3,)},
        ["Conv"],
    ),
    "gemm": (
        "(float[N,5] x) => (float[N,4] y) { c = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b) y = Relu(c) }",
        {"w": (4, 5), "b": (4,)},
        ["Gemm"],
    ),
    "matmul and add": (
        "(float[N,5] x) => (float[N,4] y) { c = MatMul(x, w) d = Add(c, b) y = Relu(d) }",
        {"w": (5, 4), "b": (4,)},
        ["Gemm"],
    ),
    "normalization alone": (
        """(float[N,3,6,6] x) => (float[N,3,3,3] y) {
            p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
            n = BatchNormalization(p, s, b, m, v)
            y = Relu(n)
        }""",
        {name: [1.0, 2.0, 3.0] for name in "sbmv"},
        ["MaxPool", "Mul", "Add"],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer_takes_up_the_map(name):
    text, weights, expected = LAYERS[name]
    assert operators(assert_removed(build(text, **weights))) == expected


def test_a_changed_layer_is_to_be_fitted():
    analysis = analyze(chain())
    rewritten = apply_candidates(analysis, find(chain()).candidates, some_statistics(analysis))
    assert rewritten.fit == {"r"}
    assert rewritten.frozen == frozenset()


def test_a_shared_weight_is_not_changed_for_its_other_reader():
    model = build(
        """(float[N,3,6,6] x) => (float[N,3,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w)
            r = Relu(a)
            y = Conv<pads=[1,1,1,1]>(r, w)
        }""",
        w=(3, 3, 3, 3),
    )
    result = assert_removed(model)
    assert "w" in {tensor.name for tensor in result.graph.initializer}


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_the_element_type_stays(dtype):
    kind = {np.float16: "float16", np.float64: "double"}[dtype]
    model = build(
        f"({kind}[N,3,6,6] x) => ({kind}[N,4,6,6] y) {{ c = Conv(x, w) y = Relu(c) }}",
        w=signed((4, 3, 1, 1)).astype(dtype),
    )
    result = applied(model, find(model).candidates, some_statistics(analyze(model)))
    expected = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert {tensor.data_type for tensor in result.graph.initializer} == {expected}


def test_the_oldest_opset_that_is_supported_stays():
    model = build(
        "(float[1,3,6,6] x) => (float[1,4,6,6] y) { c = Conv(x, w) y = Clip<min=0.0, max=6.0>(c) }",
        opset=7,
        w=(4, 3, 1, 1),
    )
    assert operators(assert_removed(model)) == ["Conv"]


# Elsewhere the activation becomes a Mul and an Add.

IN_PLACE = {
    "after a pooling": "p = MaxPool<kernel_shape=[1,1]>(h) y = Relu(p)",
    "a sum of no layers": "s = Sigmoid(h) t = Tanh(h) a = Add(s, t) y = Relu(a)",
    "a layer that is read twice": "r = Relu(h) y = Add(r, h)",
    "a sum with a map": "a = Add(h, map) y = Relu(a)",
    "a sum with what comes from a later layer": "g = Conv(x, w2) q = Sigmoid(g) a = Add(h, q) y = Relu(a)",
    "a sum by broadcasting": "g = GlobalAveragePool(x) e = Conv(g, w2) q = Sigmoid(e) a = Add(h, q) y = Relu(a)",
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_without_a_layer_to_take_it_up_the_map_is_written_out(name):
    text = IN_PLACE[name]
    weights = {"w2": (4, 3, 1, 1), "map": (1, 4, 6, 6)}
    model = build(
        f"(float[N,3,6,6] x) => (float[N,4,6,6] y) {{ h = Conv<pads=[1,1,1,1]>(x, w) {text} }}",
        w=(4, 3, 3, 3),
        **{key: value for key, value in weights.items() if key in text},
    )
    made = operators(assert_removed(model))
    assert "Relu" not in made
    assert made.count("Mul") == 1


def test_a_layer_whose_output_the_model_returns_is_left():
    model = build(
        "(float[N,3,6,6] x) => (float[N,4,6,6] h, float[N,4,6,6] y) { h = Conv(x, w) y = Relu(h) }", w=(4, 3, 1, 1)
    )
    assert operators(assert_removed(model)) == ["Conv", "Mul", "Add"]


def test_a_tensor_without_a_channel_axis_has_one_scale():
    model = build("(float[N,5,6] x) => (float[N,5,4] y) { h = MatMul(x, w) y = Relu(h) }", w=(6, 4))
    assert analyze(model).sites[0].channels == 1
    assert operators(assert_removed(model)) == ["MatMul", "Mul", "Add"]


def test_a_convolution_of_one_channel_is_handled():
    model = build("(float[N,3,6,6] x) => (float[N,1,6,6] y) { h = Conv(x, w) y = Relu(h) }", w=(1, 3, 1, 1))
    assert_removed(model)


def test_nothing_is_to_be_fitted_where_the_map_is_written_out():
    model = build("(float[N,3,6,6] x) => (float[N,3,6,6] y) { p = MaxPool<kernel_shape=[1,1]>(x) y = Relu(p) }")
    analysis = analyze(model)
    assert apply_candidates(analysis, find(model).candidates, some_statistics(analysis)).fit == frozenset()


# A residual sum stays; a layer that feeds it is fitted to make the activated sum.


def removed_after_sum(output):
    analysis = analyze(residual())
    chosen = [candidate for candidate in find(residual()).candidates if candidate.output == output]
    return apply_candidates(analysis, chosen, some_statistics(analysis))


def test_a_sum_takes_the_name_of_its_activation():
    rewritten = removed_after_sum("r2")
    made = {name: node.op_type for node in rewritten.model.graph.node for name in node.output}
    assert made["r2"] == "Add"
    assert "s1" not in made


def test_the_layer_that_feeds_the_sum_is_to_be_fitted():
    assert removed_after_sum("r2").fit == {"h2"}


def test_until_then_the_activation_is_just_gone():
    statistics = some_statistics(analyze(residual()))
    chosen = [candidate for candidate in find(residual()).candidates if candidate.output == "r2"]
    result = applied(residual(), chosen, statistics)
    gone = with_affine(residual(), {"r2": replace(statistics["r2"], scale=np.ones(6), shift=np.zeros(6))})
    feeds = feeds_of(residual())
    assert_near(run_exactly(result, feeds)[0], run_exactly(gone, feeds)[0], 1e-5)


def test_of_two_layers_that_feed_a_sum_the_later_is_fitted():
    model = build(
        """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1)
            b = Conv(x, w2)
            s = Add(b, a)
            y = Relu(s)
        }""",
        w1=(4, 3, 3, 3),
        w2=(4, 3, 1, 1),
    )
    analysis = analyze(model)
    assert apply_candidates(analysis, find(model).candidates, some_statistics(analysis)).fit == {"b"}


# What is not there any more.


def test_a_site_that_is_gone_cannot_be_removed_again():
    analysis = analyze(chain())
    (candidate,) = find(chain()).candidates
    once = apply_candidates(analysis, [candidate], some_statistics(analysis))
    with pytest.raises(NotLinearError, match="no activation makes tensor 'r'"):
        apply_candidates(once.analysis, [candidate], some_statistics(analysis))
