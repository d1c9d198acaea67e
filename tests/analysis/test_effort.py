"""How much work networks are, beside each other."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshallow.analysis.effort import LayerShape, count_effort
from onnxshallow.model.network import Network
from tests.graphs import parse


def conv(channels=(64, 64), kernel=3, size=16, layers=1, group=1, between=()):
    """Convolutions in a row, each followed by nodes of the operators `between`."""
    nodes, weights, tensor, inputs = [], [], "x", channels[0]
    for index in range(layers):
        shape = (channels[1], inputs // group, kernel, kernel)
        weights.append(numpy_helper.from_array(np.ones(shape, np.float32), f"w{index}"))
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [tensor, f"w{index}"], [f"c{index}"], pads=pads, group=group))
        tensor, inputs = f"c{index}", channels[1]
        for op in between:
            nodes.append(helper.make_node(op, [tensor], [f"{tensor}{op}"]))
            tensor = f"{tensor}{op}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1, channels[0], size, size])],
        [value(tensor, TensorProto.FLOAT, [1, channels[1], size, size])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return count_effort(Network(onnx.shape_inference.infer_shapes(model)))


@pytest.mark.parametrize(
    ("less", "more", "times"),
    [
        ({"layers": 1}, {"layers": 2}, 2.0),
        ({"channels": (64, 64)}, {"channels": (128, 128)}, 4.0),
        ({"channels": (16, 16)}, {"channels": (64, 64)}, 16 / 1.6),  # one block of channels at a time is slow
        ({"size": 8, "layers": 2}, {"size": 8, "kernel": 5}, 25 / 18 * 1.55),  # of two 3x3 one 5x5
        ({"size": 16}, {"size": 16, "kernel": 7}, 49 / 9 * 1.5),
        ({"channels": (32, 32)}, {"channels": (30, 30)}, 1.6),
        ({"channels": (24, 24)}, {"channels": (32, 32)}, 1.0),
        ({"between": ("Relu",)}, {}, 1.0),
        ({"channels": (3, 32)}, {"channels": (6, 32)}, 2.0),
        ({"channels": (64, 64), "kernel": 1}, {"channels": (64, 64), "group": 64}, 9 / 64 * 3.5),
    ],
)
def test_what_takes_longer(less, more, times):
    assert conv(**more) / conv(**less) == pytest.approx(times, rel=0.1)


def test_a_node_that_is_no_layer_is_work():
    assert conv(between=("Abs",)) > conv() + 20 * 64 * 16 * 16
    assert conv(between=("Abs", "Relu")) > conv(between=("Abs",))  # which is not done while a layer writes


def test_depthwise_channels_fill_vectors_as_well():
    assert conv(channels=(24, 24), group=24) == pytest.approx(conv(channels=(32, 32), group=32))


def test_constants_and_dead_nodes_are_no_work():
    value = helper.make_tensor_value_info
    one = numpy_helper.from_array(np.ones((1, 3, 4, 4), np.float32), "one")
    nodes = [
        helper.make_node("Abs", ["one"], ["known"]),
        helper.make_node("Abs", ["x"], ["dead"]),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    info = [value(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert count_effort(Network(model)) == 0


def network(text: str, **weights: object) -> float:
    body = f"(float[1,16,8,8] x) => (float[1,16,8,8] y) {{ {text} }}"
    constants = {"w": (16, 16, 3, 3), "k": (16, 1, 1), "sizes": np.array([8, 8]), **weights}
    read = {name: value for name, value in constants.items() if name in text}
    return count_effort(Network(parse(body, **read)))


CONV = "Conv<pads=[1,1,1,1]>"


def test_what_is_done_while_a_layer_writes_is_next_to_nothing():
    layer = network(f"y = {CONV}(x, w)")
    elements = 16 * 8 * 8
    assert network(f"a = {CONV}(x, w) b = Mul(a, k) y = Relu(b)") == layer
    assert network(f"a = {CONV}(x, w) b = Add(a, x) y = Relu(b)") == layer + 5 * elements
    assert network(f"a = {CONV}(x, w) b = Add(x, x) c = Add(a, b) y = Relu(c)") > layer + 12 * elements


def test_a_site_in_parts_takes_a_cut_and_a_join():
    whole = network(f"a = {CONV}(x, w) y = Relu(a)")
    forms = {
        "split": network(f"a = {CONV}(x, w) b, c = Split<axis=1>(a, sizes) d = Relu(b) y = Concat<axis=1>(d, c)"),
        "max": network(f"a = {CONV}(x, w) y = Max(a, k)"),
        "prelu": network(f"a = {CONV}(x, w) y = PRelu(a, k)"),
        "square": network(f"a = {CONV}(x, w) y = Mul(a, a)"),
    }
    assert whole < forms["square"] < forms["max"] < forms["prelu"] < forms["split"]


def test_a_layer_can_be_counted_in_another_way():
    text = f"(float[1,16,8,8] x) => (float[1,8,4,4] y) {{ a = {CONV}(x, w) y = Conv<strides=[2,2]>(a, v) }}"
    seen: list[LayerShape] = []

    def taken(shape: LayerShape) -> float:
        seen.append(shape)
        return float(shape.macs)

    made = count_effort(Network(parse(text, w=(16, 16, 3, 3), v=(8, 16, 1, 1))), taken)
    assert made == 16 * 16 * 9 * 64 + 8 * 16 * 16
    assert seen[1] == LayerShape((1, 1), (2, 2), (1, 1), 1, 16, 8, (8, 8), (4, 4))
