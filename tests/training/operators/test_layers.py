import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.operators.table import lacking
from tests.graphs import positive
from tests.networks import build
from tests.training.operators.gradients import check

CONVOLUTIONS = [
    ("", ()),
    ("pads=[1,1,1,1]", ()),
    ("pads=[0,1,2,3], strides=[2,1]", ()),
    ("dilations=[2,2], pads=[2,2,2,2]", ()),
    ('auto_pad="SAME_UPPER", strides=[2,2]', ()),
    ('auto_pad="SAME_LOWER", strides=[2,2]', ()),
    ('auto_pad="VALID"', ()),
    ("group=2", (4, 2, 3, 3)),
]


@pytest.mark.parametrize(("attributes", "shape"), CONVOLUTIONS)
def test_conv(attributes, shape):
    attributes = f"<{attributes}>" if attributes else ""
    text = f"(float[2,4,7,8] x) => (float[2,4,H,W] y) {{ h = Mul(x, f) y = Conv{attributes}(h, w, b) }}"
    check(build(text, f=(4, 7, 8), w=shape or (4, 4, 3, 3), b=(4,)), trained=("f", "w", "b"))


def test_conv_of_one_and_three_axes():
    check(build("(float[2,3,9] x) => (float[2,4,L] y) { y = Conv<pads=[1,2]>(x, w) }", w=(4, 3, 3)))
    check(build("(float[2,2,4,5,6] x) => (float[2,3,D,H,W] y) { y = Conv(x, w) }", w=(3, 2, 2, 3, 3)))


TRANSPOSED = [
    "",
    "strides=[2,2]",
    "strides=[2,2], pads=[1,0,0,1]",
    "strides=[3,2], output_padding=[1,1]",
    "strides=[2,2], output_shape=[9,8]",
    'strides=[2,2], auto_pad="SAME_UPPER"',
    "dilations=[2,1], group=2",
]


@pytest.mark.parametrize("attributes", TRANSPOSED)
def test_conv_transpose(attributes):
    groups = 2 if "group" in attributes else 1
    written = f"<{attributes}>" if attributes else ""
    text = f"(float[2,4,4,4] x) => (float[2,4,H,W] y) {{ y = ConvTranspose{written}(x, w, b) }}"
    check(build(text, w=(4, 4 // groups, 3, 3), b=(4,)), trained=("w", "b"))


@pytest.mark.parametrize("attributes", ["", "<transB=1>", "<alpha=0.5, beta=2.0, transA=1>"])
def test_gemm(attributes):
    x = "float[4,2] x" if "transA" in attributes else "float[2,4] x"
    w = (5, 4) if "transB" in attributes else (4, 5)
    check(build(f"({x}) => (float[2,5] y) {{ y = Gemm{attributes}(x, w, b) }}", w=w, b=(5,)), trained=("w", "b"))


def test_matmul_with_more_axes():
    check(build("(float[2,3,4] x) => (float[2,3,5] y) { y = MatMul(x, w) }", w=(4, 5)))


def test_batch_normalization_keeps_its_statistics():
    text = "(float[2,3,4,4] x) => (float[2,3,4,4] y) { y = BatchNormalization(x, w, b, mean, variance) }"
    model = build(text, w=(3,), b=(3,), mean=(3,), variance=positive("variance", (3,)))
    check(model, trained=("w", "b"))


def test_batch_normalization_in_training_mode_is_not_known():
    text = "(float[2,3,4,4] x) => (float[2,3,4,4] y) { y, m, v = BatchNormalization<training_mode=1>(x, w, b, a, c) }"
    network = Network(build(text, w=(3,), b=(3,), a=(3,), c=positive("c", (3,))))
    assert lacking(network.nodes[0], 17) == "BatchNormalization in training mode"


def test_instance_normalization():
    text = "(float[2,3,4,4] x) => (float[2,3,4,4] y) { y = InstanceNormalization(x, w, b) }"
    check(build(text, w=(3,), b=(3,)), trained=("w", "b"))


def test_response_normalization():
    text = "(float[2,6,3,3] x) => (float[2,6,3,3] y) { h = Mul(x, w) y = LRN<size=5, alpha=0.3>(h) }"
    check(build(text, w=(6, 3, 3)))
    even = build("(float[2,6,3,3] x) => (float[2,6,3,3] y) { y = LRN<size=4>(x) }")
    assert lacking(Network(even).nodes[0], 17) == "LRN over an even number of channels"
