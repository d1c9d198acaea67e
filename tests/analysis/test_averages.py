import numpy as np
import pytest

from onnxshallow.analysis.averages import averages, flattens
from onnxshallow.model.network import Network
from tests.graphs import parse

AXES = dict(both=np.array([2, 3]), last=np.array([-1, -2]), one=np.array([3]), flat=np.array([0, 3]))


def node_of(body, sizes="N,3,8,9", opset=17):
    network = Network(parse(f"(float[{sizes}] x) => (float[n,c,h,w] y) {{ {body} }}", opset=opset, **AXES))
    return network, network.nodes[-1]


@pytest.mark.parametrize(
    ("body", "sizes", "opset"),
    [
        ("y = GlobalAveragePool(x)", "N,3,8,9", 17),
        ("y = GlobalAveragePool(x)", "N,3,8", 17),
        ("y = ReduceMean<axes=[2,3]>(x)", "N,3,8,9", 17),
        ("y = ReduceMean<axes=[-1,-2], keepdims=0>(x)", "N,3,8,9", 17),
        ("y = ReduceMean(x, last)", "N,3,8,9", 18),
    ],
)
def test_averages_over_the_map(body, sizes, opset):
    assert averages(*node_of(body, sizes, opset))


@pytest.mark.parametrize(
    "body",
    ["y = ReduceMean<axes=[2]>(x)", "y = ReduceMean(x)", "y = ReduceMean<axes=[1,2,3]>(x)", "y = GlobalMaxPool(x)"],
)
def test_others_are_none(body):
    assert not averages(*node_of(body))


def test_what_has_no_map_has_no_average():
    assert not averages(*node_of("y = ReduceMean<axes=[1]>(x)", "N,3"))


@pytest.mark.parametrize("body", ["y = Flatten(x)", "y = Reshape(x, flat)", "y = Squeeze(x, both)"])
def test_single_pixels_are_laid_flat(body):
    assert flattens(*node_of(body, "N,3,1,1"))


@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        ("y = Flatten(x)", "N,3,1,2"),
        ("y = Flatten<axis=2>(x)", "N,3,1,1"),
        ("y = Squeeze(x, one)", "N,3,1,1"),
        ("y = Relu(x)", "N,3,1,1"),
        ("y = Flatten(x)", "N,3"),
    ],
)
def test_others_are_not_laid_flat(body, sizes):
    assert not flattens(*node_of(body, sizes))
