"""Networks of a few nodes: every operator that the engine runs, with the traps that each is known for."""

from typing import Any

import numpy as np
import onnx

from tests.networks import build

LAST = 2**63 - 1
_IMAGE = "(float[N,4,6,6] x) => (float[N,C,H,W] y) "


def _int(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "conv": ("{ y = Conv<pads=[1,0,0,2], strides=[2,1], dilations=[1,2]>(x, w, b) }", {"w": (3, 4, 3, 2), "b": (3,)}),
    "conv of two groups": ("{ y = Conv<group=2>(x, w) }", {"w": (6, 2, 3, 3)}),
    "depthwise": ("{ y = Conv<group=4, pads=[1,1,1,1], strides=[2,2]>(x, w, b) }", {"w": (4, 1, 3, 3), "b": (4,)}),
    "normalization": ("{ y = BatchNormalization(x, s, t, t, v) }", {"s": (4,), "t": (4,), "v": np.ones(4, "f")}),
    "transposed": ("{ y = ConvTranspose<strides=[2,2], pads=[1,0,1,1], output_padding=[1,0]>(x, w, b) }",
                   {"w": (4, 3, 3, 3), "b": (3,)}),
    "transposed in groups": ("{ y = ConvTranspose<group=2, dilations=[2,1]>(x, w) }", {"w": (4, 3, 2, 3)}),
    "relu": ("{ y = Relu(x) }", {}),
    "clip": ("{ y = Clip(x, a, b) }", {"a": np.float32(-0.2), "b": np.float32(0.5)}),
    "clip above": ("{ y = Clip(x, , b) }", {"b": np.float32(0.5)}),
    "leaky": ("{ y = LeakyRelu<alpha=0.3>(x) }", {}),
    "slopes": ("{ y = PRelu(x, s) }", {"s": (4, 1, 1)}),
    "slopes of one": ("{ y = PRelu(x, s) }", {"s": np.array([0, 1, 0.25, 1], "f").reshape(4, 1, 1)}),
    "mask of pixels": ("{ y = PRelu(x, s) }", {"s": (np.arange(144).reshape(4, 6, 6) % 3 > 0).astype("f")}),
    "hard swish": ("{ h = HardSwish(x) y = HardSigmoid<alpha=0.3>(h) }", {}),
    "smooth": ("{ a = Sigmoid(x) b = Tanh(a) y = Softmax<axis=1>(b) }", {}),
    "extremes": ("{ n = Neg(x) a = Max(x, n) y = Min(a, w, x) }", {"w": (4, 1, 1)}),
    "squares": ("{ s = Mul(x, x) p = Pow(x, two) y = Add(s, p) }", {"two": np.float32(2)}),
    "products": ("{ g = GlobalAveragePool(x) m = Mul(x, g) d = Div(m, w) y = Mul(h, d) }",
                 {"w": np.arange(1, 5, dtype="f").reshape(4, 1, 1), "h": np.float32(0.5)}),
    "sums": ("{ a = Sub(x, w) b = Sum(a, x, x) c = Add(one, b) y = Mean(c, x) }",
             {"w": (4, 1, 1), "one": np.float32(1)}),
    "split": ("{ a, b = Split<axis=1>(x, s) y = Concat<axis=1>(b, a, b) }", {"s": _int(1, 3)}),
    "slice to the end": ("{ y = Slice(x, a, b, c, d) }",
                         {"a": _int(1, -3), "b": _int(LAST, LAST), "c": _int(1, 3), "d": _int(1, 2)}),
    "slice backwards": ("{ y = Slice(x, a, b, c, d) }",
                        {"a": _int(4), "b": _int(-LAST), "c": _int(3), "d": _int(-2)}),
    "gather": ("{ y = Gather<axis=1>(x, i) }", {"i": _int(2, 0, -1, 2)}),
    "pad": ("{ y = Pad(x, p, v) }", {"p": _int(0, 0, 1, -1, 0, 1, 2, 0), "v": np.float32(0.5)}),
    "reflect": ('{ y = Pad<mode="reflect">(x, p) }', {"p": _int(0, 0, 1, 2, 0, 0, 0, 1)}),
    "max pool": ("{ y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x) }", {}),
    "max pool up to the end": ("{ y = MaxPool<kernel_shape=[3,2], strides=[2,2], ceil_mode=1>(x) }", {}),
    "average pool": ("{ y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,0,0]>(x) }", {}),
    "average pool with zeros": (
        "{ y = AveragePool<kernel_shape=[2,3], pads=[1,1,0,1], count_include_pad=1>(x) }", {}),
    "means": ("{ m = ReduceMean<axes=[3]>(x) y = GlobalMaxPool(m) }", {}),
    "nearest": ('{ y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">'
                "(x, , s) }", {"s": np.array([1, 1, 2, 2], "f")}),
    "linear": ('{ y = Resize<mode="linear">(x, , s) }', {"s": np.array([1, 1, 2, 1.5], "f")}),
    "moves": ("{ t = Transpose<perm=[0,2,3,1]>(x) f = Flatten(t) y = Reshape(f, s) }", {"s": _int(0, 4, 6, 6)}),
    "dense": ("{ f = Flatten(x) g = Gemm<transB=1>(f, w, b) h = MatMul(g, v) y = Reshape(h, s) }",
              {"w": (5, 144), "b": (5,), "v": (5, 4), "s": _int(0, 4, 1, 1)}),
}  # fmt: skip


def network(name: str) -> onnx.ModelProto:
    """One of the cases."""
    text, weights = CASES[name]
    return build(_IMAGE + text, **weights)


def everything() -> onnx.ModelProto:
    """A network with most of what is special under an engine, one after the other."""
    text = """(float[N,4,6,6] x) => (float[N,3] y) {
        c = Conv<pads=[1,1,1,1]>(x, w0, b0) r = Relu(c) d = Conv<group=4, pads=[1,1,1,1]>(r, w1)
        k = Clip(d, zero, six) q = Mul(k, k) a = Add(q, x) p = PRelu(a, s)
        g = Gather<axis=1>(p, i) l = Slice(g, from, to, axes) n = Concat<axis=1>(l, g)
        m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(n) v = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(m)
        h = HardSwish(v) t = LeakyRelu<alpha=0.1>(h) u = Sigmoid(t) f = GlobalAveragePool(u) e = Flatten(f)
        o = Gemm(e, w2, b2) y = Softmax<axis=1>(o) }"""
    return build(
        text, w0=(4, 4, 3, 3), b0=(4,), w1=(4, 1, 3, 3), zero=np.float32(0), six=np.float32(6),
        s=np.array([0, 1, 0.5, 1], "f").reshape(4, 1, 1), i=_int(3, 1, 0, 2), to=_int(LAST), axes=_int(1),
        w2=(7, 3), b2=(3,), **{"from": _int(1)},
    )  # fmt: skip
