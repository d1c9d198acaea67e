"""A Max that activates some of its elements."""

import numpy as np
import pytest

from onnxshallow.analysis.floors import floors_of, lowest
from onnxshallow.model.network import Network
from tests.graphs import parse

LOWEST = lowest(np.dtype(np.float32))


def read(text: str, floors: object, dtype: type = np.float32):
    values = np.array(floors, dtype).reshape(3, 1, 1)
    name = "float" if dtype is np.float32 else "float16"
    network = Network(parse(f"({name}[N,3,2,2] x) => ({name}[N,3,2,2] y) {{ {text} }}", floors=values))
    return floors_of(network, network.nodes[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_floors_are_zero_or_the_lowest_number(dtype):
    floors = read("y = Max(x, floors)", [0, lowest(np.dtype(dtype)), 0], dtype)
    assert floors.ravel().tolist() == [0, lowest(np.dtype(dtype)), 0]
    assert np.all(np.isfinite(floors))


def test_nothing_is_below_minus_infinity_either():
    assert read("y = Max(x, floors)", [0, -np.inf, 0]) is not None


@pytest.mark.parametrize(
    ("text", "floors"),
    [
        ("y = Max(x, floors)", [0, -1, 0]),  # another number
        ("y = Max(x, floors)", [LOWEST] * 3),  # nothing is activated
        ("y = Min(x, floors)", [0, LOWEST, 0]),
        ("y = Max(x, floors, floors)", [0, LOWEST, 0]),
        ("y = Max(x, x)", [0, LOWEST, 0]),
        ("y = Relu(x)", [0, LOWEST, 0]),
    ],
)
def test_other_nodes_have_none(text, floors):
    assert read(text, floors) is None
