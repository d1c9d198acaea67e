"""What becomes of each channel of a site."""

import numpy as np
import pytest

from onnxshallow.analysis import Site, analyze
from onnxshallow.rewriting.lowering.roles import roles
from tests.graphs import parse
from tests.partials import partial

SQUARE = [0.0, 0.3, 0.0, 0.0]
KEPT = [1, 0, 1, 0]


def site(op: str = "Relu") -> Site:
    weights = {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    return analyze(parse(f"(float[N,4,2] x) => (float[N,4,2] y) {{ y = {op} }}", **weights)).sites[0]


@pytest.mark.parametrize(
    ("op", "form", "expected"),
    [
        ("Relu(x)", "split", [0, 1, 0, 2]),
        ("Relu(x)", "prelu", [0, 1, 0, 0]),
        ("LeakyRelu(x)", "prelu", [0, 1, 0, 0]),
        ("Clip(x, zero, six)", "split", [0, 1, 0, 2]),
        ("Clip(x, zero, six)", "prelu", [0, 1, 0, 2]),
    ],
)
def test_roles_by_form(op, form, expected):
    assert roles(site(op), partial("x", "y", KEPT, square=SQUARE), form).tolist() == expected


def test_nothing_goes_through_a_prelu_where_nothing_is_kept():
    assert roles(site("Relu(x)"), partial("x", "y", [0] * 4, square=SQUARE), "prelu").tolist() == [2, 1, 2, 2]


def test_places_have_roles_of_their_own_only_where_they_are_squared_or_clipped():
    kept = np.array([[1, 0], [1, 0], [1, 1], [0, 0]])
    assert roles(site("Relu(x)"), partial("x", "y", kept), "split").tolist() == [0, 0, 0, 0]
    clipped = roles(site("Clip(x, zero, six)"), partial("x", "y", kept), "split")
    assert clipped.tolist() == [[0, 2], [0, 2], [0, 0], [2, 2]]
    squared = roles(site("Relu(x)"), partial("x", "y", kept, square=0.1), "prelu")
    assert squared.tolist() == [[0, 1], [0, 1], [0, 0], [1, 1]]
