import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.regions import find_regions
from onnxshallow.model.spelling import plainly_spelled
from tests.graphs import assert_close, assert_same_function, feeds, parse, run_plain

CHAIN = (
    "(float[N,3,8,8] x) => (float[N,4,16,16] y) {{ h = Conv(x, w) a = Relu(h) "
    "y = ConvTranspose<strides=[2,2]{more}>(a, v, b) }}"
)


def chain(more: str = "", groups: int = 1, opset: int = 17) -> onnx.ModelProto:
    text = CHAIN.format(more=more)
    return parse(text, opset=opset, w=(6, 3, 1, 1), v=(6, 4 // groups, 2, 2), b=(4,))


@pytest.mark.parametrize(("more", "groups"), [("", 1), (", group=2", 2), (", pads=[0,0,0,0], dilations=[1,1]", 1)])
def test_kernels_that_do_not_overlap_are_a_convolution_of_the_small_map(more, groups):
    model = chain(more, groups)
    plain = plainly_spelled(model)
    assert [node.op_type for node in plain.model.graph.node] == ["Conv", "Relu", "Conv", "DepthToSpace"]
    values = feeds(model)  # by onnxruntime alone: onnx's reference cannot run the groups of every ConvTranspose
    assert_close(run_plain(plain.model, values)[0], run_plain(model, values)[0])
    assert plain.restored(plain.model) == model
    assert analyze(plain.model).cost.macs == analyze(model).cost.macs
    regions, _ = find_regions(analyze(plain.model))
    assert [region.sites for region in regions] == [(analyze(plain.model).sites[0].name,)]


@pytest.mark.parametrize(
    ("kernel", "more"), [(3, ", pads=[0,0,1,1]"), (4, ", pads=[1,1,1,1]"), (1, ", output_padding=[1,1]")]
)
def test_other_kernels_are_left(kernel, more):
    text = CHAIN.format(more=more)
    model = parse(text, w=(6, 3, 1, 1), v=(6, 4, kernel, kernel), b=(4,))
    assert plainly_spelled(model).model is model


def test_before_the_order_of_channels_was_known_they_are_left():
    model = chain(opset=10)
    assert plainly_spelled(model).model is model


def test_weights_that_are_computed_are_left():
    model = parse(
        "(float[N,3,8,8] x, float[3,4,2,2] v) => (float[N,4,16,16] y) { y = ConvTranspose<strides=[2,2]>(x, v) }"
    )
    assert plainly_spelled(model).model is model


def test_half_precision_stays():
    model = parse(
        "(float16[N,3,8,8] x) => (float16[N,4,16,16] y) { y = ConvTranspose<strides=[2,2]>(x, v) }",
        v=np.random.default_rng(0).normal(size=(3, 4, 2, 2)).astype(np.float16),
    )
    assert_same_function(plainly_spelled(model).model, model)


def test_branches_that_share_one_stay_alike():
    model = parse(
        "(float[N,3,8,8] p, float[N,3,8,8] q) => (float[N,4,16,16] y) { h = Conv(p, w) a = Relu(h) "
        "u = ConvTranspose<strides=[2,2]>(a, v) k = Conv(q, w) c = Relu(k) t = ConvTranspose<strides=[2,2]>(c, v) "
        "y = Sub(u, t) }",
        w=(6, 3, 1, 1), v=(6, 4, 2, 2),
    )  # fmt: skip
    plain = plainly_spelled(model).model
    assert analyze(plain).layers.shared == {node.index for node in analyze(plain).network.nodes if node.is_op("Conv")}
    assert all("stay alike" in str(site.refusal) for site in analyze(plain).sites)
