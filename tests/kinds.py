"""Small networks of the kinds that a collection of classifiers lacks: quantized, conditional, with functions, ...

Each is a whole network with signed random weights of a size that keeps activations near one. `KINDS` has them by
name, for the tests and for `benchmarks/corpus.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.graphs import parse, signed

__all__ = ["KINDS", "Kind"]

Weights = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Kind:
    """One of the networks.

    Attributes:
        what: a few words for people.
        build: makes it.
        removable: activation sites that can be removed; one of them stays when all can.
        kept: operators that have to be in the result as often as in the original.
        refused: words of the error where the network as a whole is refused; None where it is not.
    """

    what: str
    build: Callable[[], onnx.ModelProto]
    removable: int
    kept: tuple[str, ...] = ()
    refused: str | None = None


def kernels(**shapes: tuple[int, ...]) -> Weights:
    """Weights of variance 2 / (inputs of an output), and for one axis biases of deviation 0.1."""
    return {
        name: signed(name, shape) * np.float32(0.1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:])))
        for name, shape in shapes.items()
    }


def quantized() -> onnx.ModelProto:
    """Three convolutions with int8 weights and QuantizeLinear, DequantizeLinear around, as tools write them."""
    body = []
    tensor, weights = "x", Weights()
    for number, shape in enumerate([(6, 3, 3, 3), (6, 6, 3, 3), (4, 6, 3, 3)]):
        kernel = kernels(**{f"k{number}": shape})[f"k{number}"].astype(np.float32)
        scale = np.abs(kernel).max(axis=(1, 2, 3)) / np.float32(127)
        weights |= {
            f"q{number}": np.round(kernel / scale[:, None, None, None]).astype(np.int8),
            f"s{number}": scale,
            f"z{number}": np.zeros(len(scale), np.int8),
        }
        body.append(f"""
            a{number} = QuantizeLinear({tensor}, s, z)
            d{number} = DequantizeLinear(a{number}, s, z)
            w{number} = DequantizeLinear<axis=0>(q{number}, s{number}, z{number})
            h{number} = Conv<pads=[1,1,1,1]>(d{number}, w{number})""")
        tensor = f"r{number}"
        body.append(f"{tensor} = Relu(h{number})" if number < 2 else f"y = Identity(h{number})")
    text = f"(float[N,3,12,12] x) => (float[N,4,12,12] y) {{ {' '.join(body)} }}"
    return parse(text, opset=19, ir=9, **weights, s=np.array(0.03, np.float32), z=np.array(0, np.int8))


def contrib() -> onnx.ModelProto:
    """An operator of another domain that onnxruntime knows and onnx does not, between the two halves."""
    text = """(float[N,3,12,12] x) => (float[N,5] y) {
        h0 = Conv<pads=[1,1,1,1]>(x, w0, b0) r0 = Relu(h0)
        h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
        g = com.microsoft.BiasGelu(h1, bg)
        h2 = Conv<pads=[1,1,1,1]>(g, w2, b2) r2 = Relu(h2)
        h3 = Conv<strides=[2,2]>(r2, w3, b3) r3 = Relu(h3)
        p = GlobalAveragePool(r3) f = Flatten(p) y = Gemm<transB=1>(f, w4, b4)
    }"""
    weights = kernels(w0=(6, 3, 3, 3), w1=(6, 6, 3, 3), w2=(6, 6, 3, 3), w3=(6, 6, 3, 3), w4=(5, 6))
    return parse(
        text, domains=["com.microsoft"], **weights, **kernels(b0=(6,), b1=(6,), b2=(6,), b3=(6,), b4=(5,), bg=(12,))
    )


def unknown() -> onnx.ModelProto:
    """An operator of a domain that nobody here knows."""
    text = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
        h0 = Conv<pads=[1,1,1,1]>(x, w0) r0 = Relu(h0)
        m = com.example.Secret(r0)
        h1 = Conv<pads=[1,1,1,1]>(m, w1) r1 = Relu(h1)
        y = Conv<pads=[1,1,1,1]>(r1, w2)
    }"""
    return parse(text, domains=["com.example"], **kernels(w0=(4, 3, 3, 3), w1=(4, 4, 3, 3), w2=(4, 4, 3, 3)))


def functions() -> onnx.ModelProto:
    """A local function, x times the root of its size, between blocks."""
    text = """(float[N,3,12,12] x) => (float[N,4,12,12] y) {
        h0 = Conv<pads=[1,1,1,1]>(x, w0, b0) r0 = Relu(h0)
        h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
        s = local.Squash(h1)
        h2 = Conv<pads=[1,1,1,1]>(s, w2, b2) r2 = Relu(h2)
        y = Conv<pads=[1,1,1,1]>(r2, w3, b3)
    }"""
    squash = """<domain: "local", opset_import: ["": 17]>
        Squash (a) => (b) { c = Abs(a) d = Sqrt(c) b = Mul(a, d) }"""
    weights = kernels(w0=(6, 3, 3, 3), w1=(6, 6, 3, 3), w2=(6, 6, 3, 3), w3=(4, 6, 3, 3))
    biases = kernels(b0=(6,), b1=(6,), b2=(6,), b3=(4,))
    return parse(text, domains=["local"], functions=squash, **weights, **biases)


def conditional() -> onnx.ModelProto:
    """An If whose branches read a tensor between the two convolutions of a chain; one holds a Relu of its own."""
    text = """(float[N,3,12,12] x) => (float[N,6,12,12] y, float[N,6,12,12] z) {
        total = ReduceSum<keepdims=0>(x) flag = Greater(total, zero)
        h0 = Conv<pads=[1,1,1,1]>(x, w0, b0) r0 = Relu(h0)
        h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1) r1 = Relu(h1)
        h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2) r2 = Relu(h2)
        y = Conv<pads=[1,1,1,1]>(r2, w3, b3)
        z = If (flag) <
            then_branch = yes () => (float[N,6,12,12] t) { t = Relu(h1) },
            else_branch = no () => (float[N,6,12,12] e) { e = Neg(h1) }
        >
    }"""
    weights = kernels(w0=(6, 3, 3, 3), w1=(6, 6, 3, 3), w2=(6, 6, 3, 3), w3=(6, 6, 3, 3))
    zero = np.zeros((), np.float32)
    return parse(text, **weights, **kernels(b0=(6,), b1=(6,), b2=(6,), b3=(6,)), zero=zero)


def audio() -> onnx.ModelProto:
    """Strided and dilated convolutions over a wave."""
    text = """(float[N,1,256] wave) => (float[N,6] scores) {
        h0 = Conv<strides=[4], pads=[4,4]>(wave, w0, b0) r0 = Relu(h0)
        h1 = Conv<dilations=[2], pads=[2,2]>(r0, w1, b1) r1 = Relu(h1)
        h2 = Conv<dilations=[4], pads=[4,4]>(r1, w2, b2) r2 = LeakyRelu<alpha=0.1>(h2)
        s = Add(r0, r2)
        h3 = Conv<strides=[2], pads=[1,1]>(s, w3, b3) r3 = Relu(h3)
        p = GlobalAveragePool(r3) f = Flatten(p) scores = Gemm<transB=1>(f, w4, b4)
    }"""
    weights = kernels(w0=(8, 1, 9), w1=(8, 8, 3), w2=(8, 8, 3), w3=(8, 8, 3), w4=(6, 8))
    return parse(text, **weights, **kernels(b0=(8,), b1=(8,), b2=(8,), b3=(8,), b4=(6,)))


def detector() -> onnx.ModelProto:
    """Two inputs, one trunk, and heads for scores and boxes, whose outputs are transposed and reshaped."""
    heads = [
        f"""h{name} = Conv<group=8, pads=[1,1,1,1]>(r2, d{name}, b2) c{name} = Relu(h{name})
            o{name} = Conv(c{name}, p{name}) t{name} = Transpose<perm=[0,2,3,1]>(o{name})
            {name} = Reshape(t{name}, shape_{name})"""
        for name in ("scores", "boxes")
    ]
    text = f"""(float[N,3,16,16] image, float[N,1,16,16] mask) => (float[N,64,2] scores, float[N,64,4] boxes) {{
        both = Concat<axis=1>(image, mask)
        h0 = Conv<pads=[1,1,1,1], strides=[2,2]>(both, w0, b0) r0 = Relu(h0)
        h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1) r1 = Relu(h1)
        h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2) s2 = Add(h2, r0) r2 = Relu(s2)
        {" ".join(heads)}
    }}"""
    weights = kernels(w0=(8, 4, 3, 3), w1=(8, 8, 3, 3), w2=(8, 8, 3, 3), b0=(8,), b1=(8,), b2=(8,))
    weights |= kernels(dscores=(8, 1, 3, 3), dboxes=(8, 1, 3, 3), pscores=(2, 8, 1, 1), pboxes=(4, 8, 1, 1))
    return parse(text, **weights, shape_scores=np.array([0, -1, 2]), shape_boxes=np.array([0, -1, 4]))


def half() -> onnx.ModelProto:
    """float16 throughout."""
    text = _PLAIN.replace("float[", "float16[")
    return parse(text, **{name: value.astype(np.float16) for name, value in _plain_weights().items()})


def brain() -> onnx.ModelProto:
    """bfloat16 weights, cast to float32 where they are read."""
    model = parse(_PLAIN)
    nodes = []
    for name, value in _plain_weights().items():
        stored = numpy_helper.from_array(value.astype(ml_dtypes.bfloat16), f"{name}_bf16")
        model.graph.initializer.append(stored)
        nodes.append(onnx.helper.make_node("Cast", [stored.name], [name], to=onnx.TensorProto.FLOAT))
    nodes.extend(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def segmentation() -> onnx.ModelProto:
    """Down, up by Resize, and a Concat with what was there before."""
    text = """(float[N,3,16,16] image) => (float[N,3,16,16] classes) {
        h0 = Conv<pads=[1,1,1,1]>(image, w0, b0) r0 = Relu(h0)
        h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1) r1 = Relu(h1)
        p1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
        h2 = Conv<pads=[1,1,1,1]>(p1, w2, b2) r2 = Relu(h2)
        h3 = Conv<pads=[1,1,1,1]>(r2, w3, b3) r3 = Relu(h3)
        u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(r3, , scales)
        c = Concat<axis=1>(u, r1)
        h4 = Conv<pads=[1,1,1,1]>(c, w4, b4) r4 = Relu(h4)
        classes = Conv(r4, w5, b5)
    }"""
    weights = kernels(w0=(6, 3, 3, 3), w1=(6, 6, 3, 3), w2=(8, 6, 3, 3), w3=(8, 8, 3, 3), w4=(6, 14, 3, 3))
    weights |= kernels(w5=(3, 6, 1, 1), b0=(6,), b1=(6,), b2=(8,), b3=(8,), b4=(6,), b5=(3,))
    return parse(text, **weights, scales=np.array([1, 1, 2, 2], np.float32))


def generator() -> onnx.ModelProto:
    """Transposed convolutions from a code to an image."""
    text = """(float[N,12] code) => (float[N,3,16,16] image) {
        g = Gemm<transB=1>(code, w0, b0) r0 = Relu(g)
        f = Reshape(r0, shape)
        h1 = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(f, w1, b1) r1 = Relu(h1)
        h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2) r2 = Relu(h2)
        h3 = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(r2, w3, b3) r3 = PRelu(h3, slope)
        h4 = Conv<pads=[1,1,1,1]>(r3, w4, b4) image = Tanh(h4)
    }"""
    weights = kernels(w0=(128, 12), w1=(8, 8, 4, 4), w2=(8, 8, 3, 3), w3=(8, 6, 4, 4), w4=(3, 6, 3, 3))
    weights |= kernels(b0=(128,), b1=(8,), b2=(8,), b3=(6,), b4=(3,))
    slope = np.full((6, 1, 1), 0.2, np.float32)
    return parse(text, **weights, slope=slope, shape=np.array([0, 8, 4, 4]))


_PLAIN = """(float[N,3,12,12] x) => (float[N,5] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0, b0) r0 = Relu(h0)
    h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1) r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2) s2 = Add(h2, r0) r2 = Relu(s2)
    p = GlobalAveragePool(r2) f = Flatten(p) y = Gemm<transB=1>(f, w3, b3)
}"""


def _plain_weights() -> Weights:
    weights = kernels(w0=(6, 3, 3, 3), w1=(6, 6, 3, 3), w2=(6, 6, 3, 3), w3=(5, 6))
    return weights | kernels(b0=(6,), b1=(6,), b2=(6,), b3=(5,))


KINDS: Mapping[str, Kind] = {
    "qdq": Kind("int8 weights between QuantizeLinear and DequantizeLinear", quantized, 2, ("QuantizeLinear",)),
    "contrib-operator": Kind("an operator of com.microsoft", contrib, 3, ("BiasGelu",)),
    "unknown-operator": Kind("an operator that onnxruntime lacks", unknown, 0, refused="com.example:Secret"),
    "functions": Kind("a local function", functions, 2, ("Squash",)),
    "if": Kind("an If that reads a tensor inside a chain", conditional, 3, ("If",)),
    "audio": Kind("1-D convolutions, stride and dilation", audio, 4),
    "detector": Kind("two inputs, two outputs, depthwise heads", detector, 5, ("Transpose", "Reshape")),
    "float16": Kind("float16 throughout", half, 3),
    "bfloat16": Kind("bfloat16 weights behind a Cast", brain, 3),
    "segmentation": Kind("Resize and Concat", segmentation, 5, ("Resize", "Concat")),
    "generator": Kind("ConvTranspose, PRelu", generator, 4, ("ConvTranspose", "Tanh")),
}
