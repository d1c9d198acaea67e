import numpy as np
import pytest

from onnxshallow.analysis.attributes import pads_of, slices_of, spatial_attribute, zero_padding
from onnxshallow.model.network import Network
from tests.graphs import parse

HUGE = np.iinfo(np.int64).max


def first(body: str, *, opset: int = 17, sizes: str = "N,3,9,8", **weights: object) -> Network:
    return Network(parse(f"(float[{sizes}] x) => (float[n,c,h,w] y) {{ {body} }}", opset=opset, **weights))


def conv_pads(attributes: str, sizes: str = "N,3,9,8", kernel: tuple[int, ...] = (3, 3)) -> object:
    network = first(f"y = Conv<{attributes}>(x, k)", sizes=sizes, k=(4, 3, *kernel))
    return pads_of(network, network.nodes[0], kernel)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("group=1", ((0, 0), (0, 0))),
        ("pads=[1,2,3,4]", ((1, 2), (3, 4))),
        ("pads=[-1,0,0,-2]", ((-1, 0), (0, -2))),
        ('auto_pad="NOTSET", pads=[1,1,1,1]', ((1, 1), (1, 1))),
        ('auto_pad="VALID"', ((0, 0), (0, 0))),
        ('auto_pad="SAME_UPPER"', ((1, 1), (1, 1))),
        ('auto_pad="SAME_UPPER", strides=[2,2]', ((1, 0), (1, 1))),
        ('auto_pad="SAME_LOWER", strides=[2,2]', ((1, 1), (1, 0))),
        ('auto_pad="SAME_UPPER", strides=[5,4]', ((0, 0), (0, 0))),
        ('auto_pad="SAME_LOWER", dilations=[2,3]', ((2, 3), (2, 3))),
    ],
)
def test_pads_of(attributes, expected):
    assert conv_pads(attributes) == expected


def test_even_kernels_pad_one_side_more():
    assert conv_pads('auto_pad="SAME_UPPER"', kernel=(2, 4)) == ((0, 1), (1, 2))
    assert conv_pads('auto_pad="SAME_LOWER"', kernel=(2, 4)) == ((1, 2), (0, 1))


def test_same_padding_with_a_stride_on_an_open_size():
    with pytest.raises(ValueError, match="auto_pad SAME_UPPER"):
        conv_pads('auto_pad="SAME_UPPER", strides=[2,1]', sizes="N,3,H,W")
    assert conv_pads('auto_pad="SAME_UPPER", strides=[1,1]', sizes="N,3,H,W") == ((1, 1), (1, 1))


def test_spatial_attribute():
    network = first("y = Conv<strides=[2,3]>(x, k)", k=(4, 3, 3, 3))
    assert spatial_attribute(network.nodes[0], "strides", 2) == (2, 3)
    assert spatial_attribute(network.nodes[0], "dilations", 2) == (1, 1)


PADS = [0, 1, 2, 3, 0, 4, 5, 6]
BOTH = ((0, 1, 2, 3), (0, 4, 5, 6))


@pytest.mark.parametrize(
    ("body", "opset", "expected"),
    [
        (f"y = Pad<pads={PADS}>(x)", 9, BOTH),
        (f'y = Pad<pads={PADS}, mode="constant", value=0.0>(x)', 2, BOTH),
        (f"y = Pad<pads={PADS}, value=1.0>(x)", 9, None),
        (f'y = Pad<pads={PADS}, mode="reflect">(x)', 9, None),
        ("y = Pad(x, pads)", 17, BOTH),
        ("y = Pad(x, pads, zero)", 17, BOTH),
        ("y = Pad(x, pads, one)", 17, None),
        ('y = Pad<mode="edge">(x, pads)', 17, None),
        ("k = Identity(pads) y = Pad(x, k)", 17, BOTH),
        ("y = Pad(x, few, , axes)", 18, ((0, 0, 1, 2), (0, 0, 3, 4))),
        ("y = Pad(x, few, zero, negative)", 18, ((0, 0, 1, 2), (0, 0, 3, 4))),
        ("y = Relu(x)", 17, None),
    ],
)
def test_zero_padding(body, opset, expected):
    weights = dict(
        pads=np.array(PADS), few=np.array([1, 2, 3, 4]), axes=np.array([2, 3]), negative=np.array([-2, -1])
    )
    network = first(body, opset=opset, **weights, zero=np.zeros((), "f"), one=np.ones((), "f"))
    assert zero_padding(network, network.nodes[-1]) == expected


@pytest.mark.parametrize("name", ["p", "v"])
def test_padding_that_the_caller_decides(name):
    text = "(float[N,3,9,8] x, int64[8] p, float v) => (float[n,c,h,w] y) { y = Pad(x, p, v) }"
    weights = dict(p=np.array(PADS), v=np.zeros((), "f"))
    model = parse(text, **{key: value for key, value in weights.items() if key != name})
    del model.graph.input[2 if name == "p" else 1]
    network = Network(model)
    assert zero_padding(network, network.nodes[0]) is None


@pytest.mark.parametrize(
    ("body", "opset", "expected"),
    [
        ("y = Slice<starts=[1], ends=[5], axes=[2]>(x)", 9, {2: slice(1, 5, 1)}),
        ("y = Slice<starts=[0,1], ends=[1,2]>(x)", 9, {0: slice(0, 1, 1), 1: slice(1, 2, 1)}),
        ("y = Slice(x, a, b)", 17, {0: slice(0, HUGE, 1), 1: slice(1, 3, 1)}),
        ("y = Slice(x, a, b, axes)", 17, {2: slice(0, HUGE, 1), 3: slice(1, 3, 1)}),
        ("y = Slice(x, a, b, axes, steps)", 17, {2: slice(0, HUGE, 2), 3: slice(1, 3, -1)}),
        ("y = Slice(x, a, b, , steps)", 17, {0: slice(0, HUGE, 2), 1: slice(1, 3, -1)}),
        ("y = Relu(x)", 17, None),
    ],
)
def test_slices_of(body, opset, expected):
    weights = dict(a=[0, 1], b=[HUGE, 3], axes=[2, -1], steps=[2, -1])
    network = first(body, opset=opset, **{key: np.array(value) for key, value in weights.items()})
    assert slices_of(network, network.nodes[0]) == expected


@pytest.mark.parametrize("given", ["a", "b", "axes", "steps"])
def test_slices_that_the_caller_decides(given):
    model = parse(
        f"(float[N,3,9,8] x, int64[2] {given}) => (float[n,c,h,w] y) {{ y = Slice(x, a, b, axes, steps) }}",
        **{name: np.array([1, 2]) for name in ("a", "b", "axes", "steps") if name != given},
    )
    network = Network(model)
    assert slices_of(network, network.nodes[0]) is None
