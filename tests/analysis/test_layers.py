"""Every recognised pattern is written as one plain node and compared with what it stood for."""

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import Layers
from onnxshallow.convolution import Convolution
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network
from tests.analysis.layer_cases import FLAT, IMAGE, NORM, PADS, assert_one_layer, layers_of
from tests.graphs import assert_same_function, ops, parse, plain


def only(model: onnx.ModelProto) -> Convolution:
    layers = layers_of(model)
    assert len(layers) == 1
    return layers.convolution(layers.all[0])


CONVS = {
    "plain": "y = Conv(x, w)",
    "bias": "y = Conv(x, w, b)",
    "asymmetric pads, stride, dilation": "y = Conv<pads=[0,2,1,3], strides=[2,1], dilations=[1,2]>(x, w, b)",
    "auto_pad VALID": 'y = Conv<auto_pad="VALID", strides=[2,1]>(x, w, b)',
    "auto_pad NOTSET": 'y = Conv<auto_pad="NOTSET", pads=[1,1,1,1]>(x, w, b)',
    "Pad": "p = Pad(x, pads) y = Conv<pads=[1,0,0,1]>(p, w, b)",
    "Pad with a zero given": "p = Pad(x, pads, zero) y = Conv(p, w, b)",
    "Pad, Identity, Pad": "p = Pad(x, pads) i = Identity(p) q = Pad(i, pads) y = Conv(q, w, b)",
    "Pad before auto_pad VALID": 'p = Pad(x, pads) y = Conv<auto_pad="VALID">(p, w, b)',
    "BatchNormalization": "z = Conv(x, w, b) y = BatchNormalization<epsilon=0.1>(z, s, o, m, v)",
    "Mul, Add": "z = Conv(x, w, b) t = Mul(z, c) y = Add(t, c)",
    "Mul from the left": "z = Conv(x, w, b) y = Mul(c, z)",
    "Mul by a scalar": "z = Conv(x, w, b) y = Mul(z, half)",
    "Sub": "z = Conv(x, w, b) y = Sub(z, c)",
    "Sub from a constant": "z = Conv(x, w, b) y = Sub(c, z)",
    "Div": "z = Conv(x, w, b) y = Div(z, c)",
    "constant without batch axis": "z = Conv(x, w, b) y = Add(z, c3)",
    "all together": """
        p = Pad(x, pads) d = Dropout(p) z = Conv<pads=[1,1,1,1]>(d, w, b) i = Identity(z)
        n = BatchNormalization(i, s, o, m, v) t = Mul(n, c) y = Add(t, c)""",
}


@pytest.mark.parametrize("body", CONVS.values(), ids=CONVS)
def test_conv_patterns_are_one_conv(body):
    weights = dict(w=(4, 3, 3, 3), b=(4,), c=(1, 4, 1, 1), c3=(4, 1, 1), pads=PADS, **NORM)
    model = parse(f"{IMAGE} {{ {body} }}", **weights, zero=np.zeros((), "f"), half=np.full((), 0.5, "f"))
    assert_one_layer(model, "Conv")


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 5)])
def test_auto_pad_same(mode, strides, kernel):
    body = f'y = Conv<auto_pad="{mode}", strides={strides}>(x, w, b)'
    assert_one_layer(parse(f"{IMAGE} {{ {body} }}", w=(4, 3, *kernel), b=(4,)), "Conv")


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4)])
def test_auto_pad_same_with_dilation(mode, strides, kernel):
    body = f'y = Conv<auto_pad="{mode}", strides={strides}, dilations=[2,1]>(x, w, b)'
    model = parse(f"{IMAGE} {{ {body} }}", w=(4, 3, *kernel), b=(4,))
    assert_one_layer(model, "Conv", original_by=["the reference"])  # onnxruntime refuses this combination


def test_auto_pad_same_with_stride_needs_the_size():
    text = '(float[N,3,H,W] x) => (float[N,4,h,w] y) { y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w) }'
    layers = layers_of(parse(text, w=(4, 3, 3, 3)))
    assert not layers.all
    assert "auto_pad" in layers.reasons[0]


def test_auto_pad_same_without_stride_does_not_need_the_size():
    text = '(float[N,3,H,W] x) => (float[N,4,h,w] y) { y = Conv<auto_pad="SAME_LOWER">(x, w) }'
    assert_one_layer(parse(text, w=(4, 3, 2, 3)), "Conv", sizes={"H": 5, "W": 7})


def test_sizes_given_for_counting_do_not_decide_padding():
    text = '(float[N,3,H,W] x) => (float[N,4,h,w] y) { y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w) }'
    assert not Layers(Network(parse(text, w=(4, 3, 3, 3)), {"x": (1, 3, 8, 8)})).all


@pytest.mark.parametrize("rank", [1, 3])
def test_1d_and_3d_convs(rank):
    sizes, more = ",".join("7654"[:rank]), ",".join("hwd"[:rank])
    body = "z = Conv<pads={p}, strides={s}>(x, w, b) y = BatchNormalization(z, s, o, m, v)"
    body = body.format(p=[1] * rank + [0] * rank, s=[2] * rank)
    model = parse(
        f"(float[N,3,{sizes}] x) => (float[N,4,{more}] y) {{ {body} }}", w=(4, 3, *[2] * rank), b=(4,), **NORM
    )
    assert_one_layer(model, "Conv")


def test_grouped_and_depthwise_convs():
    text = """(float[N,4,6,6] x) => (float[N,8,4,4] y) {
        z = Conv<group=2, pads=[1,1,1,1]>(x, w, b) y = Conv<group=4, dilations=[1,1]>(z, u) }"""
    model = parse(text, w=(4, 2, 3, 3), b=(4,), u=(8, 1, 3, 3))
    layers = layers_of(model)
    assert [layers.convolution(layer).groups for layer in layers] == [2, 4]
    assert_same_function(plain(model), model)


def test_negative_pads_crop():
    model = parse(f"{IMAGE} {{ y = Conv<pads=[-1,0,1,-2]>(x, w, b) }}", w=(4, 3, 3, 3), b=(4,))
    assert only(model).pads_begin == (-1, 0)
    assert only(model).pads_end == (1, -2)


GEMMS = {
    "plain": ("y = Gemm(x, w, b)", (5, 4)),
    "without bias": ("y = Gemm(x, w)", (5, 4)),
    "empty bias": ('y = Gemm(x, w, "")', (5, 4)),
    "alpha, beta, transB": ("y = Gemm<alpha=0.5, beta=-2.0, transB=1>(x, w, b)", (4, 5)),
    "scalar bias": ("y = Gemm<beta=3.0>(x, w, one)", (5, 4)),
    "row bias": ("y = Gemm(x, w, row)", (5, 4)),
    "BatchNormalization": ("z = Gemm(x, w, b) y = BatchNormalization(z, s, o, m, v)", (5, 4)),
    "Identity before": ("i = Identity(x) y = Gemm(i, w, b)", (5, 4)),
    "MatMul": ("y = MatMul(x, w)", (5, 4)),
    "MatMul, Add": ("z = MatMul(x, w) y = Add(b, z)", (5, 4)),
    "MatMul, Mul, Sub": ("z = MatMul(x, w) t = Mul(z, b) y = Sub(t, row)", (5, 4)),
}


@pytest.mark.parametrize(("body", "shape"), GEMMS.values(), ids=GEMMS)
def test_gemm_patterns_are_one_gemm(body, shape):
    text = f"{FLAT} {{ {body} }}".replace('""', "")
    model = parse(text, w=shape, b=(4,), row=(1, 4), one=(1,), **NORM)
    assert_one_layer(model, "Gemm")


def test_gemm_after_flatten_is_a_layer():
    model = parse(
        "(float[N,2,3,3] x) => (float[N,4] y) { f = Flatten(x) y = Gemm<transB=1>(f, w, b) }", w=(4, 18), b=(4,)
    )
    layers = layers_of(model)
    assert [layer.kind for layer in layers] == ["gemm"]
    assert layers.all[0].source == "f"
    assert_same_function(plain(model), model)


NO_GEMM = {
    "transA": "(float[5,2] x) => (float[2,4] y) { y = Gemm<transA=1>(x, w) }",
    "a bias that differs from sample to sample": "(float[2,5] x) => (float[2,4] y) { y = Gemm(x, w, batch) }",
    "three axes": "(float[N,2,5] x) => (float[N,2,4] y) { y = MatMul(x, w) }",
    "a constant on the left": "(float[4,5] x) => (float[5,5] y) { y = MatMul(w, x) }",
}


@pytest.mark.parametrize("text", NO_GEMM.values(), ids=NO_GEMM)
def test_no_gemm_layer(text):
    assert not layers_of(parse(text, w=(5, 4), batch=(2, 4))).all


@pytest.mark.parametrize("spatial", [(), (6,), (6, 5), (3, 4, 5)])
def test_standalone_batch_normalization_is_mul_and_add(spatial):
    sizes = "".join(f",{size}" for size in spatial)
    text = f"(float[N,4{sizes}] x) => (float[N,4{sizes}] y) {{ r = Relu(x) y = BatchNormalization(r, s, o, m, v) }}"
    model = parse(text, **NORM)
    assert [layer.kind for layer in layers_of(model)] == ["affine"]
    rewritten = plain(model)
    assert ops(rewritten) == ["Relu", "Mul", "Add"]
    assert_same_function(rewritten, model)


def test_batch_normalization_whose_parameters_have_another_type():
    text = "(float16[N,4,3,3] x) => (float16[N,4,3,3] y) { y = BatchNormalization(x, s, o, m, v) }"
    model = parse(text, **NORM)
    assert {tensor.data_type for tensor in plain(model).graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert_same_function(plain(model), model, original_by=["onnxruntime"])


@pytest.mark.parametrize("product", ["Mul(x, c)", "Mul(c, x)"])
@pytest.mark.parametrize("shape", [(1,), (4, 1, 1)])
def test_a_product_is_a_layer_in_either_order(product, shape):
    """A learned factor behind an activation, as PaddleOCR writes it: the constant comes first."""
    model = parse(f"(float[N,4,5,5] x) => (float[N,4,5,5] y) {{ m = {product} y = Add(m, d) }}", c=shape, d=(1,))
    (layer,) = layers_of(model)
    assert (layer.kind, layer.source, layer.output) == ("affine", "x", "y")
    rewritten = plain(model)
    assert_same_function(rewritten, model)


def test_weights_that_are_an_input_are_called_so():
    model = parse("(float[N,3,5,5] x, float[4,3,1,1] w) => (float[N,4,5,5] y) { y = Conv(x, w) }")
    layers = layers_of(model)
    assert list(layers.reasons.values()) == ["its weights are an input of the model"]
    model = parse("(float[N,3,5,5] x, float[4,3,1,1] w) => (float[N,4,5,5] y) { v = Neg(w) y = Conv(x, v) }")
    assert list(layers_of(model).reasons.values()) == ["its weights are computed while the model runs"]


def test_mul_by_a_vector_of_width_channels_is_not_per_channel():
    text = "(float[N,4,6,4] x) => (float[N,4,6,4] y) { z = Conv(x, w) y = Mul(z, c) }"
    model = parse(text, w=(4, 4, 1, 1), c=(4,))
    assert layers_of(model).all[0].output == "z"
    assert_same_function(plain(model), model)


NOT_FOLDED = {
    "constant that varies in space": "y = Add(z, map)",
    "constant that makes more axes": "y = Add(z, five)",
    "division of a constant": "y = Div(c, z)",
    "product with itself": "y = Mul(z, z)",
    "sum with another tensor": "y = Add(z, x)",
    "BatchNormalization in training mode": "y, a, b = BatchNormalization<training_mode=1>(z, s, o, m, v)",
}


@pytest.mark.parametrize("body", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_what_is_not_folded(body):
    text = f"(float[N,4,6,4] x) => (float[N,4,6,4] y) {{ z = Conv(x, w) {body} }}"
    model = parse(text, w=(4, 4, 1, 1), c=(1, 4, 1, 1), map=(1, 1, 6, 4), five=(1, 1, 1, 1, 1), **NORM)
    assert layers_of(model).all[0].output == "z"
    if "training" not in body and "five" not in body:
        assert_same_function(plain(model), model)


def test_broadcast_from_one_channel_is_not_folded():
    text = "(float[N,3,5,5] x) => (float[N,4,5,5] y) { z = Conv(x, w) y = Add(z, c) }"
    model = parse(text, w=(1, 3, 1, 1), c=(1, 4, 1, 1))
    assert layers_of(model).all[0].output == "z"


@pytest.mark.parametrize("pads", [[0, 1, 0, 0, 0, 0, 0, 0], [0, 0, -1, 0, 0, 0, 0, 0]], ids=["channels", "negative"])
def test_pads_that_stay(pads):
    text = "(float[N,3,6,6] x) => (float[N,4,h,w] y) { p = Pad(x, pads) y = Conv(p, w) }"
    model = parse(text, w=(4, 3 + pads[1], 3, 3), pads=np.array(pads))
    assert layers_of(model).all[0].source == "p"


def test_pad_before_auto_pad_same_stays():
    text = f'{IMAGE} {{ p = Pad(x, pads) y = Conv<auto_pad="SAME_UPPER">(p, w) }}'
    model = parse(text, w=(4, 3, 3, 3), pads=PADS)
    assert layers_of(model).all[0].source == "p"


def test_pad_before_gemm_stays():
    model = parse(
        "(float[N,5] x) => (float[N,4] y) { p = Pad(x, pads) y = Gemm(p, w) }", w=(6, 4), pads=np.array([0, 0, 0, 1])
    )
    assert layers_of(model).all[0].source == "p"


@pytest.mark.parametrize("between", ["i = Identity(z)", "i = Dropout(z)", "i = Identity(z) p = Pad(i, pads)"])
@pytest.mark.parametrize("first", ["Conv(x, w)", "BatchNormalization(x, s, o, m, v)"])
def test_a_node_between_two_layers_belongs_to_one_of_them(first, between):
    last = "p" if "Pad" in between else "i"
    text = f"(float[N,4,6,6] x) => (float[N,4,h,w] y) {{ z = {first} {between} y = Conv({last}, u) }}"
    model = parse(text, w=(4, 4, 3, 3), u=(4, 4, 3, 3), pads=PADS, **NORM)
    layers = layers_of(model)
    first_layer, second_layer = layers
    assert first_layer.output == second_layer.source
    assert not set(first_layer.nodes) & set(second_layer.nodes)
    assert_same_function(plain(model), model)


def test_identity_between_two_gemms_belongs_to_one_of_them():
    text = "(float[N,5] x) => (float[N,4] y) { z = Gemm(x, w) i = Dropout(z) y = Gemm(i, u) }"
    model = parse(text, w=(5, 6), u=(6, 4))
    first, second = layers_of(model)
    assert first.output == second.source == "i"
    assert_same_function(plain(model), model)


BARRIERS = {
    "graph output": "(float[N,4,6,6] x) => (float[N,4,4,4] y, float[N,4,4,4] z) { z = Conv(x, w) y = Mul(z, c) }",
    "several consumers": """(float[N,4,6,6] x) => (float[N,4,4,4] y, float[N,4,4,4] r) {
        z = Conv(x, w) y = Mul(z, c) r = Relu(z) }""",
    "If capture": """(float[N,4,6,6] x, bool q) => (float[N,4,4,4] y, float[N,4,4,4] r) {
        z = Conv(x, w) y = Mul(z, c)
        r = If(q) <then_branch = a () => (float[N,4,4,4] k) { k = Relu(z) },
                   else_branch = b () => (float[N,4,4,4] l) { l = Neg(z) }> }""",
}


@pytest.mark.parametrize("text", BARRIERS.values(), ids=BARRIERS)
def test_barriers_end_a_layer(text):
    model = parse(text, w=(4, 4, 3, 3), c=(1, 4, 1, 1))
    assert layers_of(model).all[0].output == "z"
    assert_same_function(plain(model), model)


def test_a_pad_that_others_read_stays():
    text = "(float[N,3,9,8] x) => (float[N,4,h,w] y, float[N,3,12,9] p) { p = Pad(x, pads) y = Conv(p, w) }"
    model = parse(text, w=(4, 3, 3, 3), pads=PADS)
    assert layers_of(model).all[0].source == "p"
    assert_same_function(plain(model), model)


def test_unnamed_nodes_and_duplicate_names():
    text = "(float[N,3,6,6] x) => (float[N,4,2,2] y) { z = Conv(x, w) r = Relu(z) y = Conv(r, u) }"
    model = parse(text, w=(4, 3, 3, 3), u=(4, 4, 3, 3))
    assert [layer.name for layer in layers_of(model)] == ["z", "y"]
    for node in model.graph.node:
        node.name = "twin"
    assert [layer.name for layer in layers_of(model)] == ["twin", "twin#3"]
    assert [node.name for node in plain(model).graph.node] == ["twin", "twin", "twin#3"]
    engines = ["the reference"]  # onnxruntime refuses duplicate names
    assert_same_function(plain(model), model, original_by=engines, rewritten_by=engines)


def test_custom_domain_conv_is_no_layer():
    text = "(float[N,3,6,6] x) => (float[N,4,4,4] y) { z = mine.Conv(x, w) y = Relu(z) }"
    assert not layers_of(parse(text, domains=["mine"], w=(4, 3, 3, 3))).all


def test_a_model_without_layers():
    assert not len(layers_of(parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")))


@pytest.mark.parametrize(
    "weights", [dict(w=(4, 3, 3, 3), b=(5,)), dict(w=(3, 3, 3, 3), b=(3,))], ids=["bias", "groups"]
)
def test_damaged_layers_are_the_models_fault(weights):
    """onnx's checker lets these pass."""
    model = parse(f"{IMAGE} {{ y = Conv<group=2>(x, w, b) }}", **weights)
    layers = layers_of(model)
    with pytest.raises(ModelError, match="Node 'y' is damaged"):
        layers.convolution(layers.all[0])
