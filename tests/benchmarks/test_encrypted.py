import numpy as np
import pytest

from benchmarks.encrypted import parts_of, widened
from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from tests.graphs import parse

# A shortcut goes around the first square.
NETWORK = """(float[n, 2, 4, 4] x) => (float[n, 3] y) {{
    first = Conv<pads = [1, 1, 1, 1]>(x, w, b)
    z = Add(first, x)
    {between}
    second = Conv(s, v)
    sum = Add(second, z)
    q = Mul(sum, sum)
    pooled = GlobalAveragePool(q)
    flat = Flatten(pooled)
    y = MatMul(flat, u)
}}"""


def network(between):
    return Network(parse(NETWORK.format(between=between), w=(2, 2, 3, 3), b=(2,), v=(2, 2, 1, 1), u=(2, 3)))


def test_matrices_and_squares_make_what_the_network_makes_shortcuts_included():
    net, x = network("s = Mul(z, z)"), np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype("f")
    values = {"x": x.reshape(-1).astype(float)}
    parts = list(parts_of(net))
    for part in parts:
        values[part.made] = sum(values[name] @ matrix for name, matrix in part.matrices.items()) + part.offset
        if part.square is not None:
            values[part.square] = values[part.made] ** 2
    assert [(part.made, sorted(part.matrices)) for part in parts] == [("z", ["x"]), ("sum", ["s", "z"]), ("y", ["q"])]
    np.testing.assert_allclose(values["y"], Session(net.model).run({"x": x})[0][0], rtol=1e-4)


def test_an_activation_between_squares_is_refused():
    with pytest.raises(ModelError, match="'r' is not linear"):
        list(parts_of(network("r = Relu(z) \n s = Mul(r, r)")))


def test_a_matrix_is_widened_by_zeros_below_and_at_its_right():
    assert widened(np.ones((1, 2)), 2, 3).tolist() == [[1, 1, 0], [0, 0, 0]]
