import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxshallow.convolution import Convolution, convolve, output_size
from tests.convolution.convolution_cases import (
    assert_close,
    convolutions,
    inputs,
    many,
    ranks,
    signed_input,
    smallest_input,
)


def by_definition(conv, x):
    """Every output, every tap, every channel: the formula with zeros looked up outside the input."""
    size = output_size(conv, x.shape[2:])
    out_block, in_block = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    result = np.zeros((len(x), conv.out_channels, *size))
    for channel, *where in np.ndindex(conv.out_channels, *size):
        total = np.full(len(x), conv.bias[channel])
        for source, *tap in np.ndindex(in_block, *conv.kernel_shape):
            axes = zip(where, conv.strides, conv.pads_begin, tap, conv.dilations, strict=True)
            position = [o * s - p + t * d for o, s, p, t, d in axes]
            if all(0 <= at < n for at, n in zip(position, x.shape[2:], strict=True)):
                pixel = x[(slice(None), channel // out_block * in_block + source, *position)]
                total += conv.weight[(channel, source, *tap)] * pixel
        result[(slice(None), channel, *where)] = total
    return result


def conv_model(conv, x, dtype):
    """A one-node ONNX model, for the oracles that others wrote."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node(
        "Conv",
        ["x", "weight", "bias"],
        ["y"],
        kernel_shape=conv.kernel_shape,
        strides=conv.strides,
        dilations=conv.dilations,
        pads=conv.pads_begin + conv.pads_end,
        group=conv.groups,
    )
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", element, x.shape)],
        [helper.make_tensor_value_info("y", element, None)],
        [
            onnx.numpy_helper.from_array(conv.weight.astype(dtype), "weight"),
            onnx.numpy_helper.from_array(conv.bias.astype(dtype), "bias"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CASES = [
    pytest.param((4, 3, 3), {}, (9,), id="1d"),
    pytest.param((4, 3, 3, 3), {"pads_begin": (1, 1)}, (7, 6), id="2d padded"),
    pytest.param(
        (4, 3, 3, 2), {"strides": (2, 3), "pads_begin": (0, 2), "pads_end": (1, 0)}, (8, 9), id="asymmetric"
    ),
    pytest.param((4, 3, 2, 3), {"dilations": (3, 2), "pads_begin": (2, 0)}, (8, 9), id="dilated"),
    pytest.param((6, 2, 3, 3), {"groups": 2, "strides": (2, 2), "pads_begin": (1, 1)}, (8, 7), id="grouped"),
    pytest.param((8, 1, 3, 3), {"groups": 4, "pads_begin": (1, 1)}, (5, 6), id="depthwise, multiplier 2"),
    pytest.param((2, 3, 2, 3, 2), {"strides": (1, 2, 1), "pads_begin": (1, 0, 1)}, (4, 7, 5), id="3d"),
]


def case(shape, options):
    random = np.random.default_rng(1)
    return Convolution.of(random.normal(size=shape), random.normal(size=shape[0]), **options)


@pytest.mark.parametrize(("shape", "options", "spatial"), CASES)
def test_agrees_with_the_reference_evaluator(shape, options, spatial):
    conv = case(shape, options)
    x = signed_input(conv, spatial)
    expected = ReferenceEvaluator(conv_model(conv, x, np.float64)).run(None, {"x": x})[0]
    assert_close(convolve(conv, x), expected)


@pytest.mark.parametrize(("shape", "options", "spatial"), CASES)
def test_agrees_with_onnxruntime(shape, options, spatial):
    conv = case(shape, options)
    x = signed_input(conv, spatial).astype(np.float32)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    model = conv_model(conv, x, np.float32)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    assert_close(convolve(conv, x), session.run(None, {"x": x})[0].astype(np.float64), tolerance=1e-5)


@many
@given(st.data())
def test_agrees_with_the_definition(data):
    conv = data.draw(ranks.flatmap(convolutions))
    x = data.draw(inputs(conv))[:1]
    assert_close(convolve(conv, x), by_definition(conv, x))


def test_a_linear_layer_is_a_matrix_product():
    random = np.random.default_rng(0)
    weight, bias, x = random.normal(size=(3, 5)), random.normal(size=3), random.normal(size=(7, 5))
    assert_close(convolve(Convolution.of(weight, bias), x), x @ weight.T + bias)


def test_no_samples_give_no_samples():
    conv = Convolution.of(np.ones((2, 3, 3, 3)))
    assert convolve(conv, np.zeros((0, 3, 5, 4))).shape == (0, 2, 3, 2)


def test_an_input_that_is_too_small_is_refused():
    conv = Convolution.of(np.ones((1, 1, 3, 3)), dilations=(1, 2))
    assert smallest_input(conv) == (3, 5)
    for spatial in itertools.product((2, 3), (4, 5)):
        if spatial == (3, 5):
            assert output_size(conv, spatial) == (1, 1)
        else:
            with pytest.raises(ValueError, match="too small"):
                output_size(conv, spatial)


@pytest.mark.parametrize("shape", [(1, 2, 5), (1, 2, 5, 5, 5), (1, 3, 5, 5)])
def test_an_input_of_another_kind_is_refused(shape):
    with pytest.raises(ValueError, match="does not fit"):
        convolve(Convolution.of(np.ones((1, 2, 3, 3))), np.zeros(shape))


def test_a_size_with_other_axes_is_refused():
    with pytest.raises(ValueError, match="2 axes"):
        output_size(Convolution.of(np.ones((1, 2, 3, 3))), (5,))
