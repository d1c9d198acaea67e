"""The traps of removing ReLUs from other people's models, each with a named test: traps 1 to 6."""

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import Layers, analyze
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from tests.graphs import assert_close, assert_same_function, feeds, ops, parse, positive, run_plain, run_reference
from tests.traps import assert_melts, assert_rewritten, mergers, optimized, refusals, removals

W1, W2, B1, B2 = (5, 3, 3, 3), (4, 5, 1, 1), (5,), (4,)
WEIGHTS = dict(w1=W1, b1=B1, w2=W2, b2=B2)
HEAD = "(float[N,3,8,8] x) => (float[N,4,oh,ow] y)"
FIRST = "h = Conv(x, w1, b1) r = Relu(h)"
LAST = "y = Conv(r, w2, b2)"


def chain(body: str = f"{FIRST} {LAST}", head: str = HEAD, **options: object) -> onnx.ModelProto:
    """Conv, Relu, pointwise Conv, which merge exactly."""
    return parse(f"{head} {{ {body} }}", **{**WEIGHTS, **options})


# 1. onnxruntime's optimized session is no oracle.


def test_trap_01_optimized_sessions_are_right_about_a_zero_pad_before_max_pool(tmp_path):
    pooled = "a = Abs(r2) n = Neg(a) p = Pad(n, pads) y = MaxPool<kernel_shape=[3,3]>(p)"
    model = chain(f"{FIRST} h2 = Conv(r, w2, b2) r2 = Relu(h2) {pooled}", pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    small = optimized(tmp_path, model).model
    values = feeds(small)
    (expected,) = run_reference(small, values)
    assert expected.max() == 0  # the padding is the largest of what is not positive
    for optimize in (False, True):
        assert_close(Session(small, optimize=optimize).run(values)[0], expected, f"optimize={optimize}")


# 2. Inputs without negative values hide sign errors.


def test_trap_02_signed_inputs_show_what_positive_ones_hide():
    left_out, model = chain(f"h = Conv(x, w1, b1) r = Identity(h) {LAST}"), chain()
    model.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.abs(onnx.numpy_helper.to_array(model.graph.initializer[0])), "w1")
    )
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.zeros(5, np.float32), "b1"))
    for index in (0, 1):
        left_out.graph.initializer[index].CopyFrom(model.graph.initializer[index])
    values = {"x": np.abs(feeds(model)["x"])}
    assert_close(run_plain(left_out, values)[0], run_plain(model, values)[0])
    with pytest.raises(AssertionError, match="differs by"):
        assert_same_function(left_out, model)


@pytest.mark.parametrize("shape", ["N,3,16,16", "N,2,64", "N,7"], ids=["images", "signals", "vectors"])
def test_trap_02_synthetic_inputs_are_signed(shape):
    network = Network(parse(f"(float[{shape}] x) => (float[{shape}] y) {{ y = Relu(x) }}"))
    x = synthesize(network.inputs, 16, 0, Preprocessing()).batch(np.arange(16))["x"]
    assert 0.2 < np.mean(x < 0) < 0.8


# 3. Barriers.

TWO = "(float[N,3,8,8] x) => (float[N,4,oh,ow] y, float[N,5,6,6] z)"
IF = """flag = Greater(total, zero) z = If (flag) <
    then_branch = yes () => (float[N,5,6,6] t) {{ t = Neg({0}) }},
    else_branch = no () => (float[N,5,6,6] e) {{ e = Identity({0}) }} >"""
LOOP = """z = Loop (three, yes, {0}) <body = step (int64 i, bool go, float[N,5,6,6] s)
    => (bool on, float[N,5,6,6] next) {{ on = Identity(go) next = Add(s, {0}) }}>"""
BARRIERS = {
    "an output": ("", "output of the model"),
    "several consumers": ("z = Neg({0})", "read by Neg"),
    "the same consumer twice": ("z = Mul({0}, {0})", "read by Mul"),
    "an If": (f"total = ReduceSum<keepdims=0>(x) {IF}", "read by If"),
    "a Loop": (LOOP, "read by Loop"),
}


@pytest.mark.parametrize("tensor", ["h", "r"])
@pytest.mark.parametrize("name", BARRIERS)
def test_trap_03_what_others_read_is_a_barrier(name, tensor):
    other, reason = BARRIERS[name]
    head = TWO.replace("z)", f"{tensor})") if not other else TWO
    scalars = dict(zero=np.zeros((), np.float32), three=np.array(3), yes=np.array(True))
    model = chain(f"{FIRST} {LAST} {other.format(tensor)}", head, **scalars)
    assert mergers(model) == ()
    assert reason in refusals(model)["r"]
    assert f"'{tensor}'" in refusals(model)["r"]
    rewritten = assert_rewritten(model, removals(model))
    assert "Relu" not in ops(rewritten)


# 4. Where a weight comes from.

SOURCES = {
    "an initializer": ("", "w2"),
    "an Identity": ("k = Identity(w2)", "k"),
    "a Constant": ("k = Constant<value = float[4,5,1,1] {%s}>()", "k"),
    "a Constant behind an Identity": ("c = Constant<value = float[4,5,1,1] {%s}>() k = Identity(c)", "k"),
    "arithmetic": ("c = Mul(w2, w2) k = Neg(c)", "k"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_trap_04_weights_are_found_wherever_they_are(name):
    before, weight = SOURCES[name]
    before = before.replace("%s", ", ".join(str(i / 7 - 1.5) for i in range(20)))
    assert_melts(chain(f"{before} {FIRST} y = Conv(r, {weight}, b2)", opset=13))


def test_trap_04_dequantized_weights_are_refused_and_stay():
    q, scale = np.arange(-10, 10, dtype=np.int8).reshape(W2), np.array(0.1, np.float32)
    model = chain(f"k = DequantizeLinear(q, scale) {FIRST} y = Conv(r, k, b2)", opset=19, ir=9, q=q, scale=scale)
    assert mergers(model) == ()
    assert any("quantized" in reason for reason in Layers(Network(model)).reasons.values())
    assert "DequantizeLinear" in ops(assert_rewritten(model, removals(model)))


def test_trap_04_inputs_with_a_default_are_weights_in_ir_3():
    merged = assert_melts(chain(opset=8, ir=3, as_inputs=True))
    assert {tensor.name for tensor in merged.graph.initializer} < {value.name for value in merged.graph.input}


def test_trap_04_inputs_with_a_default_may_be_overridden_from_ir_4_on():
    model = chain(opset=9, ir=4, as_inputs=True)
    assert mergers(model) == ()
    assert all("overridden" in reason for reason in Layers(Network(model)).reasons.values())
    rewritten = assert_rewritten(model, removals(model))
    values = feeds(model) | {"w2": positive("other", W2)}
    (site,) = removals(model)
    assert site.sites == ("r",)
    assert not np.allclose(run_plain(rewritten, values)[0], run_plain(rewritten, feeds(model))[0])


@pytest.mark.parametrize("word", ["quantized", "overridden"])
def test_trap_04_the_reason_names_the_weights(word):
    if word == "overridden":
        model = chain(opset=9, ir=4, as_inputs=True)
    else:
        q, scale = np.arange(-10, 10, dtype=np.int8).reshape(W2), np.array(0.1, np.float32)
        body = f"k = DequantizeLinear(q, scale) {FIRST} y = Conv(r, k, b2)"
        model = chain(body, opset=19, ir=9, q=q, scale=scale)
    assert word in refusals(model)["r"]


def test_trap_04_shared_weights_are_copied_on_write():
    head = "(float[N,4,8,8] x) => (float[N,4,8,8] y, float[N,4,8,8] z)"
    body = "h = Conv(x, w) r = Relu(h) y = Conv(r, w) z = Conv(x, w)"
    model = parse(f"{head} {{ {body} }}", w=(4, 4, 1, 1))
    merged = assert_melts(model)
    assert ops(merged) == ["Conv", "Conv"]
    kept = {tensor.name: tensor for tensor in merged.graph.initializer}
    assert kept["w"] == model.graph.initializer[0]


# 5. The geometry of convolutions.

GEOMETRIES = {
    "SAME_UPPER": ('auto_pad="SAME_UPPER"', W1),
    "SAME_LOWER, even kernel": ('auto_pad="SAME_LOWER"', (5, 3, 2, 4)),
    "SAME_UPPER with a stride": ('auto_pad="SAME_UPPER", strides=[2,3]', W1),
    "SAME_LOWER with a stride": ('auto_pad="SAME_LOWER", strides=[3,2]', (5, 3, 2, 4)),
    "VALID": ('auto_pad="VALID", strides=[2,1]', W1),
    "asymmetric pads": ("pads=[0,2,1,3], strides=[2,1], dilations=[1,2]", W1),
    "groups": ("group=3, pads=[1,1,1,1]", (6, 1, 3, 3)),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_trap_05_geometries_merge_exactly(name):
    attributes, shape = GEOMETRIES[name]
    body = f"h = Conv<{attributes}>(x, w1, b1) r = Relu(h) {LAST}"
    assert_melts(chain(body, w1=shape, b1=shape[:1], w2=(4, shape[0], 1, 1)))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_trap_05_auto_pad_same_with_a_dilation(mode):
    body = f'h = Conv<auto_pad="{mode}", dilations=[2,1]>(x, w1, b1) r = Relu(h) {LAST}'
    # onnxruntime refuses this combination, but not what it is merged into.
    assert_melts(chain(body), original_by=["the reference"])


def test_trap_05_negative_pads_crop():
    """No engine runs a Conv that crops; onnxruntime alone runs the Pad that it stands for."""
    cropping = chain(f"h = Conv<pads=[-1,0,1,-2]>(x, w1, b1) r = Relu(h) {LAST}")
    (layer, _) = Layers(Network(cropping)).all
    convolution = Layers(Network(cropping)).convolution(layer)
    assert (convolution.pads_begin, convolution.pads_end) == ((-1, 0), (1, -2))
    body = f"p = Pad(x, pads) h = Conv(p, w1, b1) r = Relu(h) {LAST}"
    model = chain(body, pads=np.array([0, 0, -1, 0, 0, 0, 1, -2]))
    engine = ["onnxruntime"]
    rewritten = assert_rewritten(model, mergers(model), original_by=engine, rewritten_by=engine)
    assert ops(rewritten) == ["Pad", "Conv"]


@pytest.mark.parametrize("rank", [1, 3])
def test_trap_05_one_and_three_axes(rank):
    sizes, taps, ones = ",9" * rank, (3,) * rank, (1,) * rank
    head = f"(float[N,3{sizes}] x) => (float[N,4{''.join(f',o{i}' for i in range(rank))}] y)"
    body = f"h = Conv<strides={[2] * rank}>(x, w1, b1) r = Relu(h) {LAST}"
    merged = assert_melts(chain(body, head, w1=(5, 3, *taps), w2=(4, 5, *ones)))
    assert ops(merged) == ["Conv"]


def test_trap_05_groups_become_dense_where_the_second_mixes_them():
    body = f"h = Conv<group=3>(x, w1, b1) r = Relu(h) {LAST}"
    merged = assert_melts(chain(body, w1=(6, 1, 3, 3), b1=(6,), w2=(4, 6, 1, 1)))
    (conv,) = Layers(Network(merged)).all
    assert Layers(Network(merged)).convolution(conv).groups == 1


# 6. Activations in all their forms.

CLIPS = {
    "attributes, opset 10": ("r = Clip<min=0.0, max=6.0>(h)", 10, "clip"),
    "minimum alone, opset 10": ("r = Clip<min=0.0>(h)", 10, "relu"),
    "maximum alone, opset 10": ("r = Clip<max=6.0>(h)", 10, "clip"),
    "inputs, opset 11": ("r = Clip(h, zero, six)", 11, "clip"),
    "minimum alone, opset 11": ("r = Clip(h, zero)", 11, "relu"),
    "maximum alone, opset 11": ('r = Clip(h, "", six)', 11, "clip"),
    "neither": ("r = Clip(h)", 13, None),
    "minimum above maximum": ("r = Clip(h, six, zero)", 13, None),
    "another minimum": ("r = Clip(h, minus, six)", 13, "clip"),
    "bounds from a Constant": ("c = Constant<value = float {6.0}>() r = Clip(h, zero, c)", 13, "clip"),
    "Relu, then Min": ("q = Relu(h) r = Min(q, six)", 13, "relu"),
    "PRelu, one slope": ("r = PRelu(h, slope)", 13, "prelu"),
    "PRelu, a slope a channel": ("r = PRelu(h, slopes)", 13, "prelu"),
    "LeakyRelu": ("r = LeakyRelu<alpha=0.2>(h)", 13, "leaky_relu"),
}
SCALARS = dict(
    zero=np.zeros((), np.float32),
    six=np.full((), 6, np.float32),
    minus=np.full((), -1, np.float32),
    slope=np.full((1,), 0.3, np.float32),
    slopes=np.linspace(0.1, 0.9, 5, dtype=np.float32).reshape(5, 1, 1),
)


@pytest.mark.parametrize("name", CLIPS)
def test_trap_06_activations_are_found_or_left(name):
    activation, opset, kind = CLIPS[name]
    model = chain(f"h = Conv(x, w1, b1) {activation} {LAST}", opset=opset, **SCALARS)
    assert [site.kind for site in analyze(model).sites] == ([] if kind is None else [kind])
    assert_rewritten(model, removals(model))
    assert len(mergers(model)) == (kind is not None and "Min" not in name)


@pytest.mark.parametrize(
    ("node", "opset"),
    [
        ("n = Dropout(h, ratio, yes)", 13),
        ("n = Dropout(h, ratio, x0)", 13),
        ("n, m1, v1 = BatchNormalization<training_mode=1>(h, s, o, m, v)", 15),
    ],
    ids=["Dropout", "Dropout, mode not constant", "BatchNormalization"],
)
def test_trap_06_training_mode_is_a_barrier(node, opset):
    head = HEAD.replace("x)", "x, bool x0)", 1) if "x0" in node else HEAD
    weights = dict(ratio=np.array(0.5, np.float32), yes=np.array(True), s=B1, o=B1, m=B1, v=positive("v", B1))
    model = chain(f"h = Conv(x, w1, b1) {node} r = Relu(n) {LAST}", head, opset=opset, **weights)
    assert mergers(model) == ()
    assert "r" in refusals(model)
    first, _ = Layers(Network(model)).all
    assert first.output == "h"


def test_trap_06_inference_mode_is_none():
    norm = "n = Dropout(h, ratio) q = BatchNormalization(n, s, o, m, v) r = Relu(q)"
    weights = dict(ratio=np.array(0.5, np.float32), s=B1, o=B1, m=B1, v=positive("v", B1))
    assert_melts(chain(f"h = Conv(x, w1, b1) {norm} {LAST}", **weights))
