import numpy as np

from onnxshallow.model.network import Network
from onnxshallow.model.spelling.trials import body_of, regions, tried
from tests.graphs import parse

TWO = dict(two=np.array([2], np.float32))


def network(body: str) -> Network:
    return Network(parse(f"(float[N,3] x) => (float[N,3] y) {{ {body} }}", **TWO))


def test_groups_grow_from_their_end_and_read_one_tensor():
    found = network("s = Sin(x) a = Abs(s) b = Mul(a, two) y = Add(b, s)")
    groups = [([node.op for node in nodes], source) for nodes, source in regions(found, found.nodes[-1], ())]
    assert groups == [(["Abs", "Mul", "Add"], "s")]


def test_groups_end_at_what_is_taken():
    found = network("a = Abs(x) b = Exp(a) y = Mul(b, two)")
    groups = [[node.op for node in nodes] for nodes, _ in regions(found, found.nodes[-1], {0})]
    assert groups == [["Exp", "Mul"]]


def test_a_body_is_run_on_numbers():
    found = network("a = Abs(x) y = Mul(a, two)")
    body = body_of(found, found.nodes, "x")
    made = tried(found, body, np.array([-3, 1], np.float32))
    np.testing.assert_array_equal(made, np.array([6, 2], np.float32))


def test_constants_of_several_numbers_make_no_function_of_one():
    model = parse("(float[N,3] x) => (float[N,3] y) { a = Abs(x) y = Mul(a, w) }", w=(3,))
    found = Network(model)
    assert body_of(found, found.nodes, "x") is None
