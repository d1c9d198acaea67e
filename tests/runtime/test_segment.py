from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.convolution import Convolution, convolve
from onnxshallow.errors import ModelError
from onnxshallow.model.session import Session
from onnxshallow.runtime.segment import build_segment
from tests.networks import assert_near, build, chain, feeds_of, operators, residual, run_exactly, signed


def run(model, feeds):
    return Session(model, threads=1, optimize=False).run(feeds)


def test_a_segment_reads_what_its_nodes_do_not_make():
    network = analyze(chain()).network
    model, reads = build_segment(network, [1, 2], ["y"])
    assert reads == ("h",)
    assert operators(model) == ["Relu", "Conv"]


def test_a_segment_holds_the_initializers_that_its_nodes_read():
    model, _ = build_segment(analyze(chain()).network, [2], ["y"])
    assert {tensor.name for tensor in model.graph.initializer} == {"w2", "b2"}


def test_a_segment_computes_what_the_network_does():
    model = residual()
    feeds = feeds_of(model)
    network = analyze(model).network
    upper, _ = build_segment(network, network.ancestors(["s1"]), ["s1", "r0"])
    s1, r0 = run(upper, feeds)
    lower, reads = build_segment(network, network.ancestors(["y"], frozenset({"s1", "r0"})), ["y"])
    values = {"s1": s1, "r0": r0}
    assert_near(run(lower, {name: values[name] for name in reads})[0], run_exactly(model, feeds)[0])


def test_nodes_stay_in_graph_order_however_they_are_given():
    model, _ = build_segment(analyze(chain()).network, [2, 0, 1], ["y"])
    assert operators(model) == ["Conv", "Relu", "Conv"]


def test_opset_functions_and_version_are_the_networks_own():
    original = build("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }", opset=13, ir_version=7)
    model, _ = build_segment(analyze(original).network, [0], ["y"])
    assert model.ir_version == 7
    assert list(model.opset_import) == list(original.opset_import)


def test_initializers_need_not_be_inputs_whatever_the_version():
    original = build(
        "(float[N,3,4,4] x, float[2,3,1,1] w) => (float[N,2,4,4] y) { y = Conv(x, w) }", ir_version=3, w=(2, 3, 1, 1)
    )
    model, reads = build_segment(analyze(original).network, [0], ["y"])
    assert reads == ("x",)
    assert_near(run(model, feeds_of(original))[0], run_exactly(original, feeds_of(original))[0])


def test_a_replaced_layer_computes_the_other_convolution():
    analysis = analyze(chain())
    layer = analysis.layers.by_output["h"]
    other = replace(
        analysis.layers.convolution(layer), weight=signed((5, 3, 3, 3), 9).astype(float), bias=np.arange(5.0)
    )
    model, _ = build_segment(analysis.network, [0], ["h"], {layer: other})
    x = signed((2, 3, 8, 8))
    assert_near(run(model, {"x": x})[0], convolve(other, x))


PAD_AND_NORMALIZE = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
    p = Pad(x, pads)
    c = Conv(p, w)
    n = BatchNormalization(c, s, b, m, v)
    y = Relu(n)
}"""


def folded():
    vector = {name: np.array([1, 2, 3, 4], dtype=np.float32) for name in "sbmv"}
    return build(PAD_AND_NORMALIZE, w=(4, 3, 3, 3), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), **vector)


def test_a_replaced_layer_takes_the_place_of_all_its_nodes():
    analysis = analyze(folded())
    layer = analysis.layers.by_output["n"]
    model, reads = build_segment(analysis.network, [0, 1, 2, 3], ["y"], {layer: analysis.layers.convolution(layer)})
    assert operators(model) == ["Conv", "Relu"]
    assert reads == ("x",)
    feeds = feeds_of(folded())
    assert_near(run(model, feeds)[0], run_exactly(folded(), feeds)[0])


def test_a_replaced_layer_that_is_not_part_of_the_segment_is_left_out():
    analysis = analyze(chain())
    layer = analysis.layers.by_output["y"]
    model, _ = build_segment(analysis.network, [0], ["h"], {layer: analysis.layers.convolution(layer)})
    assert operators(model) == ["Conv"]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_replaced_layer_without_spatial_axes_is_a_gemm(groups):
    original = build("(float[N,4] x) => (float[N,6] y) { y = MatMul(x, w) }", w=(4, 6))
    analysis = analyze(original)
    layer = analysis.layers.by_output["y"]
    other = Convolution.of(signed((6, 4 // groups), 3), np.arange(6.0), groups=groups)
    model, _ = build_segment(analysis.network, [0], ["y"], {layer: other})
    assert operators(model) == ["Gemm"]
    x = signed((5, 4))
    assert_near(run(model, {"x": x})[0], convolve(other, x))


def test_a_replaced_layer_keeps_its_element_type():
    original = build(
        "(float16[N,3,4,4] x) => (float16[N,2,4,4] y) { y = Conv(x, w) }",
        w=signed((2, 3, 1, 1)).astype(np.float16),
    )
    analysis = analyze(original)
    layer = analysis.layers.by_output["y"]
    model, _ = build_segment(analysis.network, [0], ["y"], {layer: analysis.layers.convolution(layer)})
    assert {t.data_type for t in model.graph.initializer} == {onnx.TensorProto.FLOAT16}


CAPTURED = """(float[N,3] x, bool c) => (float[N,3] y) {
    r = Relu(x)
    q = Sigmoid(x)
    y = If (c) <
        then_branch = then () => (float[N,3] a) { a = Mul(r, w) },
        else_branch = other () => (float[N,3] b) { b = Identity(q) }
    >
}"""


def test_what_a_subgraph_captures_is_read_or_stored():
    model, reads = build_segment(analyze(build(CAPTURED, w=[1.0, 2.0, 3.0])).network, [2], ["y"])
    assert set(reads) == {"c", "r", "q"}
    assert {tensor.name for tensor in model.graph.initializer} == {"w"}


def test_a_sparse_initializer_is_stored_as_such():
    model = build("(float[2] x) => (float[2] y) { y = Add(x, z) }", z=[0.0, 3.0])
    values = onnx.numpy_helper.from_array(np.array([3.0], dtype=np.float32), "z")
    indices = onnx.numpy_helper.from_array(np.array([1], dtype=np.int64))
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [2]))
    segment, reads = build_segment(analyze(model).network, [0], ["y"])
    assert reads == ("x",)
    assert len(segment.graph.sparse_initializer) == 1


def test_a_tensor_of_unknown_type_cannot_be_read():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>'
        "graph (float[N,3] x) => (float[N,3] y) { a = mine.Unknown(x) y = Relu(a) }"
    )
    with pytest.raises(ModelError, match="element type of tensor 'a'"):
        build_segment(analyze(model).network, [1], ["y"])


@pytest.mark.parametrize("nodes", [[], [0]])
def test_an_input_of_the_network_is_handed_through(nodes):
    model = build("(float[N,3,4,4] x) => (float[N,3,4,4] y) { y = Relu(x) }")
    segment, reads = build_segment(analyze(model).network, nodes, ["x", *(["y"] if nodes else [])])
    assert reads == ("x",)
    x = signed((2, 3, 4, 4))
    values = Session(segment).run({"x": x})
    np.testing.assert_array_equal(values[0], x)
    assert len(values) == 1 + len(nodes)


def test_sizes_that_are_read_keep_their_number():
    original = build(
        """(float[N,3,H,W] x) => (float[N,3,H,W] y) { s = Shape(x) z = Slice(s, two, four)
            p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x) r = Relu(p)
            q = Shape(r) n = Slice(q, none, two) t = Concat<axis=0>(n, z) y = Resize<mode="linear">(r, , , t) }""",
        none=np.array([0]),
        two=np.array([2]),
        four=np.array([4]),
    )
    feeds = {"x": signed((2, 3, 6, 8))}
    network = analyze(original, {"x": (1, 3, 6, 8)}).network
    model, reads = build_segment(network, network.ancestors(["y"], frozenset({"p", "z"})), ["y"])
    values = {"p": feeds["x"].reshape(2, 3, 3, 2, 4, 2).mean(axis=(3, 5)), "z": np.array([6, 8])}
    assert_near(run(model, {name: values[name] for name in reads})[0], run_exactly(original, feeds)[0])
