import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.report.build.nodes import node_reports
from onnxshallow.search.candidates import find_candidates, find_options
from tests.networks import build

RESIDUAL = """(float[N,2,4,4] x) => (float[N,2,2,2] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
    n0 = BatchNormalization(h0, scale, shift, mean, var)
    r0 = Relu(n0)
    h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
    a = Add(h1, x)
    k = Mul(a, factor)
    y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(k)
}"""
WEIGHTS = {
    "w0": (2, 2, 3, 3), "b0": (2,), "w1": (2, 2, 3, 3), "b1": (2,), "factor": (1,),
    "scale": (2,), "shift": (2,), "mean": (2,), "var": [1.0, 2.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def nodes():
    return node_reports(analyze(build(RESIDUAL, **WEIGHTS)))


def test_what_matters_is_drawn_and_the_rest_is_passed_by(nodes):
    assert [node.op for node in nodes] == ["Input", "Conv", "Relu", "Conv", "Add", "MaxPool", "Output"]
    assert [node.inputs for node in nodes] == [[], [0], [1], [2], [3, 0], [4], [5]]


def test_costs_and_shapes_are_those_of_the_analysis(nodes):
    _, first, relu, _, join, pool, output = nodes
    assert (first.macs, first.kernel, first.shape) == (2 * 2 * 9 * 16, [3, 3], [2, 4, 4])
    assert (relu.relus, relu.macs, join.macs) == (32, None, None)
    assert pool.shape == output.shape == [2, 2, 2]


def test_nodes_say_what_the_plan_does_to_them(inputs):
    fusion = next(c for c in find_candidates(inputs.analysis, find_options(inputs))[0] if c.action == "fuse")
    changed = [node for node in node_reports(inputs.analysis, (fusion,)) if node.change == fusion.key]
    assert {node.name for node in changed} >= set(fusion.sites)
    assert sum(node.relus or 0 for node in changed) == fusion.relus


def test_shape_arithmetic_is_not_drawn():
    model = build(
        """(float[N,2,4,4] x) => (float[N,K] y) {
            h = Conv(x, w)
            s = Shape(h)
            first = Gather(s, zero)
            n = Unsqueeze(first, axes)
            to = Concat<axis=0>(n, rest)
            y = Reshape(h, to)
        }""",
        w=(3, 2, 3, 3),
        zero=np.array(0),
        axes=np.array([0]),
        rest=np.array([-1]),
    )
    assert [node.op for node in node_reports(analyze(model))] == ["Input", "Conv", "Output"]
