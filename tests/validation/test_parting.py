import math

import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.orders import with_orders
from onnxshallow.model.scales import with_scales
from onnxshallow.validation import parting
from onnxshallow.validation.parting import differences, first_beyond
from tests.graphs import parse, signed

TEXT = """(float[N,3,8,8] x) => (float[N,2,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, v) d = Relu(c) y = Conv(d, u) }"""
WEIGHTS = dict(w=(4, 3, 3, 3), v=(4, 4, 3, 3), u=(2, 4, 1, 1))
BATCHES = [{"x": signed(f"x{seed}", (2, 3, 8, 8))} for seed in range(2)]


def edited(name: str, factor: float) -> Network:
    """The network with one weight multiplied."""
    return Network(parse(TEXT, **{**WEIGHTS, name: (factor * signed(name, WEIGHTS[name])).astype(np.float32)}))


def test_networks_part_where_a_weight_differs():
    found = differences(Network(parse(TEXT, **WEIGHTS)), edited("v", 1.1), BATCHES)
    assert [each.name for each in found] == ["a", "b", "c", "d", "y"]
    assert [each.relative_error for each in found[:2]] == [0, 0]
    assert [each.relative_error for each in found[2:]] == pytest.approx([0.1] * 3, rel=1e-4)
    first = first_beyond(found, 0.05)
    assert first is not None
    assert (first.name, first.op) == ("c", "Conv")
    assert first_beyond(found, 0.2) is None


def test_few_tensors_at_once_are_the_same(monkeypatch):
    networks = Network(parse(TEXT, **WEIGHTS)), edited("w", 0.9)
    whole = differences(*networks, BATCHES)
    monkeypatch.setattr(parting, "_MOST_BYTES", 1)
    assert [each.name for each in differences(*networks, BATCHES)] == [each.name for each in whole]
    apart = [each.relative_error for each in differences(*networks, BATCHES)]
    assert apart == pytest.approx([each.relative_error for each in whole])


def test_tensors_of_another_shape_or_name_are_left_out():
    other = TEXT.replace(" b = Relu(a) ", " e = Relu(a) ").replace("(b, v)", "(e, v)")
    found = differences(Network(parse(TEXT, **WEIGHTS)), Network(parse(other, **WEIGHTS)), BATCHES)
    assert [each.name for each in found] == ["a", "c", "d", "y"]


def test_values_that_are_not_finite_are_beyond_everything():
    v = signed("v", WEIGHTS["v"])
    v[0, 0, 0, 0] = np.inf
    broken = Network(parse(TEXT, **{**WEIGHTS, "v": v}))
    found = differences(Network(parse(TEXT, **WEIGHTS)), broken, BATCHES)
    assert found[2].relative_error == math.inf
    assert [each.relative_error for each in differences(broken, broken, BATCHES)] == [0] * 5


def test_scales_of_channels_are_taken_back():
    scale = np.float32([1, 2, 4, 0.5])
    w, v = signed("w", WEIGHTS["w"]), signed("v", WEIGHTS["v"])
    model = parse(TEXT, **{**WEIGHTS, "w": w * scale[:, None, None, None], "v": v / scale[:, None, None]})
    first = Network(parse(TEXT, **WEIGHTS))
    assert differences(first, Network(model), BATCHES)[1].relative_error > 0.1
    told = Network(with_scales(model, {"a": scale, "b": scale}))
    assert max(each.relative_error for each in differences(first, told, BATCHES)) < 1e-6


def test_channels_in_another_order_are_put_back():
    order = np.array([2, 0, 3, 1])
    scale = np.float32([1, 2, 4, 0.5])
    w, v = signed("w", WEIGHTS["w"])[order], signed("v", WEIGHTS["v"])[:, order]
    model = parse(TEXT, **{**WEIGHTS, "w": w * scale[:, None, None, None], "v": v / scale[:, None, None]})
    first = Network(parse(TEXT, **WEIGHTS))
    told = with_scales(with_orders(model, {"a": order, "b": order}), {"a": scale, "b": scale})
    assert max(each.relative_error for each in differences(first, Network(told), BATCHES)) < 1e-6


def test_constants_and_integers_are_not_compared():
    body = "k = Neg(c) i = ArgMax<axis=1>(x) f = Cast<to=1>(i) h = Add(x, k) y = Add(h, f)"
    text = f"(float[N,3] x) => (float[N,3] y) {{ {body} }}"
    model = parse(text, c=(3,))
    onnx.checker.check_model(model)
    found = differences(Network(model), Network(model), [{"x": signed("x", (4, 3))}])
    assert [each.name for each in found] == ["f", "h", "y"]
