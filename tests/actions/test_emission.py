import numpy as np
import onnx
import pytest

from onnxshallow.actions.emission import affine_nodes, average_nodes, is_channel_affine, layer_nodes
from onnxshallow.convolution import Convolution, convolve, identity
from onnxshallow.model.editor import GraphEditor
from tests.networks import assert_near, build, operators, run_exactly, signed


def emitted(convolution, x, bias_map=None):
    """The model that `layer_nodes` makes of a placeholder, and its output on `x`."""
    sizes = ",".join(["N", str(x.shape[1]), *map(str, x.shape[2:])])
    out = ",".join(["N", "C", *(f"S{axis}" for axis in range(x.ndim - 2))])
    model = build(f"(float[{sizes}] x) => (float[{out}] y) {{ y = Relu(x) }}")
    editor = GraphEditor(model)
    nodes = layer_nodes(editor, convolution, "x", "y", name="layer", dtype=np.dtype(np.float32), bias_map=bias_map)
    editor.replace(["y"], nodes)
    made = editor.finish()
    onnx.checker.check_model(made, full_check=True)
    first, *rest = (node.name for node in made.graph.node)
    assert first == "layer"
    assert all(name.startswith("layer/") for name in rest)
    assert all(tensor.name.startswith("layer.") for tensor in made.graph.initializer)
    return made, run_exactly(made, {"x": x})[0]


@pytest.mark.parametrize(
    ("convolution", "spatial"),
    [
        (
            Convolution.of(signed((4, 3, 3, 3)), signed((4,)), strides=(2, 1), pads_begin=(1, 0), pads_end=(2, 1)),
            (7, 6),
        ),
        (Convolution.of(signed((4, 3, 3, 3)), dilations=(2, 1)), (7, 6)),
        (Convolution.of(signed((6, 2, 3)), signed((6,)), groups=3), (8,)),
        (Convolution.of(signed((4, 1, 3, 3)), signed((4,)), groups=4, pads_begin=(1, 1)), (5, 5)),
        (Convolution.of(signed((2, 2, 2, 2, 2))), (3, 4, 3)),
    ],
    ids=["strides and pads", "dilations", "groups, one axis", "depthwise", "three axes"],
)
def test_a_convolution_is_written_as_conv(convolution, spatial):
    x = signed((2, convolution.in_channels, *spatial))
    model, y = emitted(convolution, x)
    assert operators(model) == ["Conv"]
    assert_near(y, convolve(convolution, x), 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_without_axes_is_written_as_gemm(groups):
    convolution = Convolution.of(signed((6, 4 // groups)), signed((6,)), groups=groups)
    x = signed((3, 4))
    model, y = emitted(convolution, x)
    assert operators(model) == ["Gemm"]
    assert_near(y, convolve(convolution, x), 1e-5)


@pytest.mark.parametrize("spatial", [(), (4,), (3, 4)])
def test_one_weight_a_channel_is_written_as_mul_and_add(spatial):
    convolution = Convolution.of(signed((5, 1, *(1,) * len(spatial))), signed((5,)), groups=5)
    x = signed((2, 5, *spatial))
    model, y = emitted(convolution, x)
    assert operators(model) == ["Mul", "Add"]
    assert_near(y, convolve(convolution, x), 1e-5)


def test_a_bias_map_takes_the_place_of_the_bias():
    convolution = Convolution.of(signed((4, 3, 3, 3)), signed((4,)), pads_begin=(1, 1))
    x, border = signed((2, 3, 5, 5)), signed((4, 5, 5), 3)
    model, y = emitted(convolution, x, border)
    assert operators(model) == ["Conv", "Add"]
    unbiased = Convolution.of(convolution.weight, pads_begin=(1, 1))
    assert_near(y, convolve(unbiased, x) + border, 1e-5)


def test_weights_have_the_wanted_element_type():
    editor = GraphEditor(build("(double[N,3,4,4] x) => (double[N,C,4,4] y) { y = Relu(x) }"))
    convolution = Convolution.of(signed((4, 3, 1, 1)))
    (node,) = layer_nodes(editor, convolution, "x", "y", name="layer", dtype=np.dtype(np.float64))
    editor.replace(["y"], [node])
    assert {tensor.data_type for tensor in editor.finish().graph.initializer} == {onnx.TensorProto.DOUBLE}


def test_names_that_are_taken_are_not_used_again():
    model = build("(float[N,3,4,4] x) => (float[N,2,4,4] y) { a = Relu(x) y = Conv(a, w) }", w=(2, 3, 1, 1))
    editor = GraphEditor(model)
    convolution = Convolution.of(signed((2, 3, 1, 1)))
    first, second = (
        layer_nodes(editor, convolution, "a", "y", name="w", dtype=np.dtype(np.float32))[0] for _ in range(2)
    )
    names = [first.inputs[1].name, second.inputs[1].name, first.inputs[2].name, second.inputs[2].name]
    assert len(set(names)) == 4


def test_one_scale_serves_a_whole_tensor():
    model = build("(float[N,5,3] x) => (float[N,5,3] y) { y = Relu(x) }")
    editor = GraphEditor(model)
    nodes = affine_nodes(
        editor, np.array([2.0]), np.array([-1.0]), "x", "y", name="map", dtype=np.dtype(np.float32), rank=1
    )
    editor.replace(["y"], nodes)
    x = signed((2, 5, 3))
    assert_near(run_exactly(editor.finish(), {"x": x})[0], 2 * x - 1, 1e-6)


@pytest.mark.parametrize(
    ("convolution", "expected"),
    [
        (identity(3, 2), True),
        (identity(1, 2), False),
        (Convolution.of(np.ones((6, 1, 1, 1)), groups=3), False),
        (Convolution.of(np.ones((3, 1, 1, 1)), groups=3, strides=(2, 2)), False),
        (Convolution.of(np.ones((3, 1, 1, 1)), groups=3, pads_begin=(1, 1)), False),
        (Convolution.of(np.ones((3, 1, 3, 3)), groups=3, pads_begin=(1, 1)), False),
        (Convolution.of(np.ones((3, 3, 1, 1))), False),
    ],
    ids=["depthwise 1x1", "one channel", "channel multiplier", "stride", "pads", "3x3", "dense"],
)
def test_channel_affine_is_one_weight_for_each_of_several_channels(convolution, expected):
    assert is_channel_affine(convolution) is expected


@pytest.mark.parametrize(("flat", "shape"), [(True, (2, 3)), (False, (2, 3, 1, 1))])
def test_averages_of_a_map_are_made_under_free_names(flat, shape):
    model = build("(float[N,3,4,5] x) => (float[N,3,4,5] h, float[a,b,c,d] y) { h = Abs(x) y = Relu(h) }")
    editor = GraphEditor(model)
    averages = average_nodes(editor, "x", name="h", flat=flat)
    twice = Convolution.of(np.full((3, 1, *shape[2:]), 2), groups=3)
    source = averages[-1].outputs[0].name
    editor.replace(["y"], [*averages, *layer_nodes(editor, twice, source, "y", name="t", dtype=np.dtype("f"))])
    x = signed((2, 3, 4, 5))
    made = run_exactly(editor.finish(), {"x": x})[1]
    assert made.shape == shape
    assert_near(made, 2 * x.mean(axis=(2, 3), keepdims=not flat), 1e-5)
