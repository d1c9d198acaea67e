from onnxshallow.model.network import Network
from onnxshallow.training.operators.table import OPERATORS, lacking
from tests.graphs import parse


def test_other_domains_and_old_opsets_are_not_known():
    network = Network(parse("(float[2,3] x) => (float[2,3] y) { h = other.Relu(x) y = Relu(h) }", domains=("other",)))
    assert lacking(network.nodes[0], 17) == "other.Relu"
    assert lacking(network.nodes[1], 17) is None
    assert lacking(network.nodes[1], 6) == "Relu"


def test_operators_that_hold_other_operators_are_not_known():
    assert not {"If", "Loop", "Scan", "LSTM"} & set(OPERATORS)
