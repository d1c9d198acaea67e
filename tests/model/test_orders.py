"""The note of the order of channels."""

import numpy as np
import pytest

from onnxshallow.model.orders import orders_of, with_orders
from tests.graphs import frozen, parse


def net():
    return parse("(float[N,3,3] x) => (float[N,3,3] y) { y = Relu(x) }")


def test_what_is_noted_is_read_again():
    model = net()
    before = frozen(model)
    noted = with_orders(model, {"y": np.array([2, 0, 1])})
    assert orders_of(noted)["y"].tolist() == [2, 0, 1]
    assert frozen(model) == before


def test_a_note_takes_the_place_of_the_one_before():
    noted = with_orders(with_orders(net(), {"y": np.array([2, 0, 1])}), {"z": np.array([1, 0])})
    assert list(orders_of(noted)) == ["z"]
    assert frozen(with_orders(noted, {})) == frozen(net())


def test_no_orders_leave_the_model_as_it_is():
    model = net()
    assert with_orders(model, {}) is model
    assert orders_of(model) == {}


def test_tensors_that_lack_channels_are_not_named():
    assert list(orders_of(with_orders(net(), {"y": np.array([2, 0]), "z": np.array([1, 0])}))) == ["z"]


@pytest.mark.parametrize(
    "text",
    ["nonsense", "[1, 2]", '{"y": ["a"]}', '{"y": [[0, 1]]}', '{"y": [0, 2]}', '{"y": [0.0, 1.0]}', '{"y": 0}'],
)
def test_a_note_that_cannot_be_read_counts_as_none(text):
    model = net()
    model.metadata_props.add(key="onnxshallow.orders", value=text)
    assert orders_of(model) == {}
