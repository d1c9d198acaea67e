import numpy as np
import pytest

from onnxshallow.analysis.shortcuts import as_convolution
from onnxshallow.convolution import convolve
from onnxshallow.model.network import Network
from tests.graphs import assert_close, feeds, parse, run_plain, run_reference

HUGE = np.iinfo(np.int64).max
WEIGHTS = dict(
    zero2=np.array([0, 0]), ends=np.array([8, 9]), far=np.array([HUGE, HUGE]), spatial=np.array([2, 3]),
    steps=np.array([2, 3]), pads=np.array([0, 2, 0, 0, 0, 1, 0, 0]),
)  # fmt: skip


def node_of(body: str, *, opset: int = 17, sizes: str = "N,3,8,9", **weights: np.ndarray) -> Network:
    text = f"(float[{sizes}] x) => (float[n,c,h,w] y) {{ {body} }}"
    return Network(parse(text, opset=opset, **{**WEIGHTS, **weights}))


CONVOLUTIONS = [
    ("y = Slice(x, zero2, far, spatial, steps)", 17),
    ("y = Slice(x, zero2, ends, spatial, steps)", 17),
    ("y = Slice<starts=[0,0,0], ends=[99,3,99], axes=[2,1,3]>(x)", 9),
    ("y = Pad(x, pads)", 17),
    ("y = Pad<pads=[0,1,0,0,0,3,0,0]>(x)", 9),
    ("y = AveragePool<kernel_shape=[2,3]>(x)", 17),
    ("y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,0,1,1], count_include_pad=1>(x)", 17),
    ('y = AveragePool<kernel_shape=[2,2], strides=[2,2], auto_pad="VALID">(x)', 17),
    ("y = AveragePool<kernel_shape=[2,2], dilations=[2,3]>(x)", 19),
]


@pytest.mark.parametrize(("body", "opset"), CONVOLUTIONS)
def test_convolutions_in_disguise(body, opset):
    network = node_of(body, opset=opset)
    convolution = as_convolution(network, network.nodes[-1])
    values = feeds(network.model)
    (expected,) = run_plain(network.model, values)
    assert_close(convolve(convolution, values["x"]).astype(np.float32), expected)
    if "count_include_pad" not in body and "dilations" not in body:  # the reference evaluator has these wrong
        assert_close(run_reference(network.model, values)[0], expected)


NONE = {
    "starts inside": ("y = Slice<starts=[1], ends=[99], axes=[2]>(x)", 9),
    "ends inside": ("y = Slice<starts=[0], ends=[7], axes=[2]>(x)", 9),
    "cuts channels": ("y = Slice<starts=[0], ends=[2], axes=[1]>(x)", 9),
    "cuts the batch": ("y = Slice<starts=[0], ends=[1], axes=[0]>(x)", 9),
    "backwards": ("y = Slice(x, ends, zero2, spatial, back)", 17),
    "pads space as well": ("y = Pad(x, more)", 17),
    "pads with ones": ("y = Pad(x, pads, one)", 17),
    "crops channels": ("y = Pad(x, crop)", 17),
    "padding not counted": ("y = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(x)", 17),
    "rounded up": ("y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", 17),
    "max": ("y = MaxPool<kernel_shape=[2,2]>(x)", 17),
}


@pytest.mark.parametrize(("body", "opset"), NONE.values(), ids=NONE)
def test_nodes_that_are_no_convolution(body, opset):
    more, crop = np.array([0, 2, 1, 0, 0, 1, 0, 0]), np.array([0, -1, 0, 0, 0, 0, 0, 0])
    network = node_of(body, opset=opset, one=np.ones((), "f"), more=more, crop=crop, back=np.array([-1, -1]))
    assert as_convolution(network, network.nodes[-1]) is None


def test_open_sizes():
    body = "y = Slice(x, zero2, {}, spatial, steps)"
    whole, known = (node_of(body.format(ends), sizes="N,3,H,W") for ends in ("far", "ends"))
    assert as_convolution(whole, whole.nodes[0]).strides == (2, 3)
    assert as_convolution(known, known.nodes[0]) is None, "the size may be larger than the slice's end"
    pool = node_of('y = AveragePool<kernel_shape=[2,2], strides=[2,2], auto_pad="SAME_UPPER">(x)', sizes="N,3,H,W")
    assert as_convolution(pool, pool.nodes[0]) is None


def test_open_channels_and_missing_axes():
    network = node_of("y = Pad(x, pads)", sizes="N,C,8,8")
    assert as_convolution(network, network.nodes[0]) is None
    network = Network(parse("(float[N,3] x) => (float[N,4] y) { y = Pad(x, p) }", p=np.array([0, 0, 0, 1])))
    assert as_convolution(network, network.nodes[0]) is None
