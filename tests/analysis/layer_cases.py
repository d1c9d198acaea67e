"""What the tests of layers share: shapes, a normalization, and the check that a pattern is one layer."""

import numpy as np
import onnx

from onnxshallow.analysis import Layers
from onnxshallow.model.network import Network
from tests.graphs import assert_same_function, ops, plain, positive

IMAGE = "(float[N,3,9,8] x) => (float[N,4,h,w] y)"
FLAT = "(float[N,5] x) => (float[N,4] y)"
NORM = dict(s=(4,), o=(4,), m=(4,), v=positive("v", (4,)))
PADS = np.array([0, 0, 1, 0, 0, 0, 2, 1])


def layers_of(model: onnx.ModelProto) -> Layers:
    return Layers(Network(model))


def assert_one_layer(model: onnx.ModelProto, op: str, **options: object) -> None:
    """The model is one layer, equal to one node `op`."""
    layers = layers_of(model)
    assert len(layers) == 1
    assert {node.index for node in layers.network.nodes} - set(layers.all[0].nodes) == constants(layers.network)
    rewritten = plain(model)
    assert ops(rewritten) == [op]
    assert_same_function(rewritten, model, **options)


def constants(network: Network) -> set[int]:
    return {node.index for node in network.nodes if network.is_constant(node.outputs[0])}
