import numpy as np
import pytest

from onnxshallow.analysis.shortcuts import as_convolution, differs_at_border
from onnxshallow.convolution import convolve
from onnxshallow.model.network import Network
from tests.graphs import assert_close, feeds, parse, run_plain, run_reference

HUGE = np.iinfo(np.int64).max
WEIGHTS = dict(
    zero2=np.array([0, 0]), ends=np.array([8, 9]), far=np.array([HUGE, HUGE]), spatial=np.array([2, 3]),
    steps=np.array([2, 3]), order=np.array([2, -3, 0, 1]), parts=np.array([1, 2]),
    each=np.array([[[2]], [[-1]], [[0.5]]], "f"), pads=np.array([0, 2, 0, 0, 0, 1, 0, 0]),
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
    ("y = AveragePool<kernel_shape=[2,3], strides=[2,3], ceil_mode=1>(x)", 17),
    ("y = Slice<starts=[0], ends=[2], axes=[1]>(x)", 9),
    ("y = Slice<starts=[-2], ends=[99], axes=[-3]>(x)", 9),
    ("y = Gather<axis=1>(x, order)", 17),
    ("z, y = Split<axis=1>(x, parts)", 17),
    ("y, z = Split<axis=-3, split=[2,1]>(x)", 11),
    ("y = Neg(x)", 17),
    ("y = Sub(each, x)", 17),
    ("y = Div(x, each)", 17),
    ("y = Add(each, x)", 17),
    ("y = SpaceToDepth<blocksize=2>(x)", 17),
]


@pytest.mark.parametrize(("body", "opset"), CONVOLUTIONS)
def test_convolutions_in_disguise(body, opset):
    network = node_of(body, opset=opset, sizes="N,3,8,10" if "SpaceToDepth" in body else "N,3,8,9")
    convolution = as_convolution(network, network.nodes[-1], "y")
    values = feeds(network.model)
    (expected,) = run_plain(network.model, values)
    assert_close(convolve(convolution, values["x"]).astype(np.float32), expected)
    if "count_include_pad" not in body and "dilations" not in body:  # the reference evaluator has these wrong
        assert_close(run_reference(network.model, values)[0], expected)


NONE = {
    "starts inside": ("y = Slice<starts=[1], ends=[99], axes=[2]>(x)", 9),
    "ends inside": ("y = Slice<starts=[0], ends=[7], axes=[2]>(x)", 9),
    "gathers pixels": ("y = Gather<axis=2>(x, zero2)", 17),
    "gathers by turns": ("y = Gather<axis=1>(x, square)", 17),
    "numbers for each pixel": ("y = Add(x, wide)", 17),
    "a number that is divided": ("y = Div(one, x)", 17),
    "cuts the batch": ("y = Slice<starts=[0], ends=[1], axes=[0]>(x)", 9),
    "backwards": ("y = Slice(x, ends, zero2, spatial, back)", 17),
    "pads space as well": ("y = Pad(x, more)", 17),
    "pads with ones": ("y = Pad(x, pads, one)", 17),
    "crops channels": ("y = Pad(x, crop)", 17),
    "rounded up": ("y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", 17),
    "max": ("y = MaxPool<kernel_shape=[2,2]>(x)", 17),
}


@pytest.mark.parametrize(("body", "opset"), NONE.values(), ids=NONE)
def test_nodes_that_are_no_convolution(body, opset):
    more, crop = np.array([0, 2, 1, 0, 0, 1, 0, 0]), np.array([0, -1, 0, 0, 0, 0, 0, 0])
    others = dict(
        more=more, crop=crop, back=np.array([-1, -1]), square=np.zeros((2, 2), int), wide=np.ones((8, 9), "f")
    )
    network = node_of(body, opset=opset, one=np.ones((), "f"), **others)
    assert as_convolution(network, network.nodes[-1], "y") is None


def test_open_sizes():
    body = "y = Slice(x, zero2, {}, spatial, steps)"
    whole, known = (node_of(body.format(ends), sizes="N,3,H,W") for ends in ("far", "ends"))
    assert as_convolution(whole, whole.nodes[0], "y").strides == (2, 3)
    assert as_convolution(known, known.nodes[0], "y") is None, "the size may be larger than the slice's end"
    pool = node_of('y = AveragePool<kernel_shape=[2,2], strides=[2,2], auto_pad="SAME_UPPER">(x)', sizes="N,3,H,W")
    assert as_convolution(pool, pool.nodes[0], "y") is None


def test_open_channels_and_missing_axes():
    network = node_of("y = Pad(x, pads)", sizes="N,C,8,8")
    assert as_convolution(network, network.nodes[0], "y") is None
    network = Network(parse("(float[N,3] x) => (float[N,4] y) { y = Pad(x, p) }", p=np.array([0, 0, 0, 1])))
    assert as_convolution(network, network.nodes[0], "y") is None


def test_a_pooling_that_does_not_count_its_padding_is_one_but_for_the_border():
    network = node_of("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)")
    convolution = as_convolution(network, network.nodes[0], "y")
    assert differs_at_border(network.nodes[0])
    values = feeds(network.model)
    (expected,) = run_plain(network.model, values)
    made = convolve(convolution, values["x"]).astype(np.float32)
    assert_close(made[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])
    assert not np.allclose(made, expected)


@pytest.mark.parametrize("body", ["y = AveragePool<kernel_shape=[2,2]>(x)", "y = Neg(x)"])
def test_what_is_the_same_at_the_border(body):
    assert not differs_at_border(node_of(body).nodes[0])
