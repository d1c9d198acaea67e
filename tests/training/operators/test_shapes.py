import numpy as np
import pytest

from onnxshallow.training.operators import shapes
from tests.networks import build
from tests.training.operators.gradients import check

X = "(float[2,4,6] x) => (float[N,M,K] y) {{ h = Mul(x, w) y = {} }}"
FORMS = {
    "Reshape(h, shape)": {"shape": np.array([0, -1, 3])},
    "Transpose<perm=[0,2,1]>(h)": {},
    "Transpose(h)": {},
    "Concat<axis=1>(h, x)": {},
    "Slice(h, starts, ends, axes)": {"starts": np.array([1]), "ends": np.array([-1]), "axes": np.array([2])},
    "Slice(h, starts, ends, axes, steps)": {
        "starts": np.array([5]),
        "ends": np.array([-100]),
        "axes": np.array([2]),
        "steps": np.array([-2]),
    },
    "Slice(h, starts, ends)": {"starts": np.array([0, 1]), "ends": np.array([2, 3])},
    "Gather<axis=1>(h, indices)": {"indices": np.array([2, 0, -1])},
    "Expand(h, shape)": {"shape": np.array([2, 1, 6])},
    "Tile(h, repeats)": {"repeats": np.array([1, 2, 1])},
}


@pytest.mark.parametrize("most", [0, 2**16])
def test_channels_of_maps_are_selected_in_either_way(monkeypatch, most):
    monkeypatch.setattr(shapes, "_MOST_MULTIPLIED", most)
    text = "(float[2,4,3,3] x) => (float[2,5,3,3] y) { h = Mul(x, w) y = Gather<axis=1>(h, indices) }"
    check(build(text, w=(4, 1, 1), indices=np.array([2, 0, -1, 2, 1])))


@pytest.mark.parametrize("form", FORMS)
def test_moves(form):
    check(build(X.format(form), w=(4, 6), **FORMS[form]))


@pytest.mark.parametrize("sizes", ["", ", sizes"])
def test_split(sizes):
    text = f"(float[2,4,6] x) => (float[2,K,6] y) {{ h = Mul(x, w) a, b = Split<axis=1>(h{sizes}) y = Sub(a, b) }}"
    weights = {"sizes": np.array([2, 2])} if sizes else {}
    check(build(text, w=(4, 6), **weights))


def test_split_by_an_attribute():
    text = "(float[2,4,6] x) => (float[2,3,6] y) { h = Mul(x, w) y, b = Split<axis=1, split=[3,1]>(h) }"
    check(build(text, opset=11, w=(4, 6)))


def test_maps_split_by_channel():
    text = """(float[2,3,5,5] x) => (float[2,4,5,5] y)
    { h = Conv(x, w) a, b = Split<axis=1>(h, k) r = Relu(a) y = Concat<axis=1>(b, r) }"""
    check(build(text, w=(4, 3, 1, 1), k=np.array([1, 3])))


def test_axes_of_one():
    text = "(float[2,4,6] x) => (float[2,4,6] y) { h = Mul(x, w) a = Unsqueeze(h, axes) y = Squeeze(a, axes) }"
    check(build(text, w=(4, 6), axes=np.array([0, -1])))
    text = (
        "(float[2,4,6] x) => (float[2,4,6] y) { h = Mul(x, w) a = Unsqueeze<axes=[1]>(h) y = Squeeze<axes=[1]>(a) }"
    )
    check(build(text, opset=11, w=(4, 6)))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_flatten(axis):
    check(build(f"(float[2,4,6] x) => (float[N,M] y) {{ h = Mul(x, w) y = Flatten<axis={axis}>(h) }}", w=(4, 6)))


def test_shapes_that_are_computed():
    text = """(float[2,4,6] x) => (float[2,24] y) {
        h = Mul(x, w)
        s = Shape(h)
        n = Gather(s, zero)
        u = Unsqueeze(n, axes)
        t = Concat<axis=0>(u, rest)
        y = Reshape(h, t)
    }"""
    check(build(text, w=(4, 6), zero=np.int64(0), axes=np.array([0]), rest=np.array([-1])))


def test_a_filled_tensor():
    text = """(float[2,4,6] x) => (float[2,4,6] y) {
        h = Mul(x, w)
        s = Shape(x)
        c = ConstantOfShape<value = float[1] {2.0}>(s)
        y = Mul(h, c)
    }"""
    check(build(text, w=(4, 6)))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_and_back(mode):
    text = f"""(float[2,8,3,3] x) => (float[2,8,3,3] y) {{
        h = Mul(x, w)
        a = DepthToSpace<blocksize=2, mode="{mode}">(h)
        y = SpaceToDepth<blocksize=2>(a)
    }}"""
    check(build(text, w=(8, 3, 3)))
