"""What the tests of splits share: layers that are split, and what a split must be."""

from dataclasses import replace

import numpy as np
import onnx

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Decompose, Split
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.analysis.cost import layer_macs
from tests.networks import assert_near, build, feeds_of, run_exactly

DEEPER = FindOptions(deeper=True)


def find(model, shapes=None, **options):
    return Decompose().find(analyze(model, shapes), replace(DEEPER, **options))


def splits_of(model, output):
    return [candidate for candidate in find(model).candidates if candidate.output == output]


def best(model, output):
    """Of what splits the layer that makes `output` in two, and saves a fifth, the closest to it."""
    analysis = analyze(model)
    layer = analysis.layers.by_output[output]
    fifth = layer_macs(analysis.network, analysis.network.nodes[layer.main]) / 5
    found = find(model, every_size=True).candidates
    return min((c for c in found if (c.output, c.layers) == (output, 2) and c.macs >= fifth), key=lambda c: c.left)


def plain(model, output):
    """The candidates of one group whose first layer has all taps, the largest rank first."""
    found = (c for c in find(model, every_size=True).candidates if (c.output, c.groups, c.taps) == (output, 1, "all"))
    return sorted(found, key=lambda candidate: -candidate.rank)


def whole(model, output):
    """A candidate whose rank leaves the layer what it is; none that would save anything."""
    (layer,) = (layer for layer in analyze(model).layers if layer.output == output)
    rank = min(layer.weight_shape[0], int(np.prod(layer.weight_shape[1:])))
    return Split("decompose", (), layer.source, output, rank=rank, nodes=frozenset(layer.nodes))


def others(model, kernel="auto"):
    analysis, options = analyze(model), FindOptions(kernel)
    return {c.key: c for action in (Fuse(), Linearize()) for c in action.find(analysis, options).candidates}


def assert_costs_as_promised(model, result, candidates, shapes=None):
    before, after = analyze(model, shapes).cost, analyze(result, shapes).cost
    assert before.macs - after.macs == sum(candidate.macs for candidate in candidates)
    assert before.linear_layers - after.linear_layers == sum(candidate.depth for candidate in candidates)
    assert before.relus - after.relus == sum(candidate.relus for candidate in candidates)


def assert_same(model, result, tolerance=1e-4, samples=2):
    feeds = feeds_of(model, samples)
    for actual, expected in zip(run_exactly(result, feeds), run_exactly(model, feeds), strict=True):
        assert_near(actual, expected, tolerance)


def wide_conv(outputs=16, **options):
    """One 3x3 convolution that can save much, and an activation."""
    return build(
        f"(float[N,4,6,6] x) => (float[N,{outputs},6,6] y) {{ h = Conv<pads=[1,1,1,1]>(x, w, b) y = Relu(h) }}",
        w=(outputs, 4, 3, 3),
        b=(outputs,),
        **options,
    )


NORMALIZED = """(float[N,4,6,6] x) => (float[N,16,6,6] y) {
    p = Pad(x, pads)
    c = Conv(p, w)
    n = BatchNormalization(c, s, b, m, v)
    y = Relu(n)
}"""


def normalized():
    parameters = {name: np.linspace(1, 2, 16).astype(np.float32) for name in "sbmv"}
    return build(NORMALIZED, w=(16, 4, 3, 3), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), **parameters)


LAYERS = {
    "padded": (
        "(float[N,4,6,6] x) => (float[N,16,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }",
        {"w": (16, 4, 3, 3), "b": (16,)},
    ),
    "strided and padded unevenly": (
        "(float[N,4,7,9] x) => (float[N,16,H,W] y) { y = Conv<pads=[2,0,1,1], strides=[2,3]>(x, w, b) }",
        {"w": (16, 4, 3, 2), "b": (16,)},
    ),
    "dilated, without a bias": (
        "(float[N,4,9,9] x) => (float[N,16,H,W] y) { y = Conv<dilations=[2,3]>(x, w) }",
        {"w": (16, 4, 3, 3)},
    ),
    "padded by itself": (
        '(float[N,4,7,6] x) => (float[N,16,4,3] y) { y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w, b) }',
        {"w": (16, 4, 3, 3), "b": (16,)},
    ),
    "pointwise and strided": (
        "(float[N,24,6,6] x) => (float[N,16,3,3] y) { y = Conv<strides=[2,2]>(x, w, b) }",
        {"w": (16, 24, 1, 1), "b": (16,)},
    ),
    "more outputs than inputs": (
        "(float[N,1,6,6] x) => (float[N,40,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }",
        {"w": (40, 1, 3, 3), "b": (40,)},
    ),
    "one axis": (
        "(float[N,4,12] x) => (float[N,16,L] y) { y = Conv<pads=[2,1], strides=[2]>(x, w, b) }",
        {"w": (16, 4, 5), "b": (16,)},
    ),
    "three axes": (
        "(float[N,2,4,5,4] x) => (float[N,12,D,H,W] y) { y = Conv<pads=[1,0,1,0,1,1]>(x, w, b) }",
        {"w": (12, 2, 2, 3, 2), "b": (12,)},
    ),
    "gemm": (
        "(float[N,20] x) => (float[N,12] y) { y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b) }",
        {"w": (12, 20), "b": (12,)},
    ),
    "gemm of a fixed batch": (
        "(float[4,20] x) => (float[4,12] y) { y = Gemm(x, w, b) }",
        {"w": (20, 12), "b": (12,)},
    ),
    "matmul and add": (
        "(float[N,20] x) => (float[N,12] y) { c = MatMul(x, w) y = Add(c, b) }",
        {"w": (20, 12), "b": (12,)},
    ),
}


def layer(name):
    text, weights = LAYERS[name]
    return build(text, **weights)


def initializers(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
