import numpy as np
import pytest

from onnxshallow.model.network import Network
from onnxshallow.validation.ends import End, find_end
from tests.graphs import parse


def end_of(body, *, shape="N,6,4,4", opset=17, output="y", outputs="float[?] y", **weights):
    return find_end(Network(parse(f"(float[{shape}] x) => ({outputs}) {{ {body} }}", opset=opset, **weights)), output)


@pytest.mark.parametrize(
    ("body", "shape", "expected"),
    [
        ("y = Softmax(x)", "N,6", End("softmax", 1)),
        ("y = LogSoftmax<axis=1>(x)", "N,6", End("softmax", 1)),
        ("s = Softmax(x)\n y = Log(s)", "N,6", End("softmax", 1)),
        ("s = Softmax<axis=1>(x)\n y = Identity(s)", "N,6,4,4", End("softmax", 1)),
        ("s = Softmax<axis=1>(x)\n y = Flatten(s)", "N,6,1,1", End("softmax", 1)),
        ("s = Softmax<axis=1>(x)\n y = Transpose<perm=[0,2,3,1]>(s)", "N,6,4,4", End("softmax", 3)),
        ("y = Softmax<axis=2>(x)", "N,3,7", End("softmax", 2)),
        ("s = Softmax<axis=2>(x)\n y = Flatten(s)", "N,3,7", End("softmax", 1, (7, 7, 7))),
        ("a = Softmax(x)\n b = Softmax(x)\n y = Concat<axis=1>(a, b)", "N,6", End("softmax", 1, (6, 6))),
        ("a = Softmax(x)\n b = Softmax(x)\n y = Concat<axis=1>(a, b)", "N,1,6", End("softmax", 2)),
        ("a = Softmax(x)\n b = Relu(x)\n y = Concat<axis=1>(a, b)", "N,6", End()),
        ("y = Sigmoid(x)", "N,6", End("sigmoid")),
        ("y = ArgMax<axis=1>(x)", "N,6", End("argmax")),
        ("y = LpNormalization<axis=1>(x)", "N,6", End("l2")),
        ("n = ReduceL2<axes=[1]>(x)\n y = Div(x, n)", "N,6", End("l2")),
        ("n = ReduceL2<axes=[1]>(x)\n c = Clip(n)\n y = Div(x, c)", "N,6", End("l2")),
        (
            "q = Mul(x, x)\n s = ReduceSum(q)\n r = Sqrt(s)\n i = Reciprocal(r)\n y = Mul(x, i)",
            "N,6",
            End("l2"),
        ),
        ("y = Mul(x, x)", "N,6", End()),
        ("y = Relu(x)", "N,6", End()),
        ("y = Identity(x)", "N,6", End()),
    ],
)
def test_what_computes_an_output(body, shape, expected):
    assert end_of(body, shape=shape) == expected


def test_the_largest_in_their_order_are_found():
    assert end_of("y, i = TopK(x, k)", shape="N,6", k=np.array([2])) == End("topk")


def test_a_batch_normalization_at_the_end_is_found():
    weights = dict.fromkeys(("s", "b", "m", "v"), (6,))
    assert end_of("y = BatchNormalization(x, s, b, m, v)", shape="N,6", **weights) == End("batchnorm")


@pytest.mark.parametrize(("shape", "expected"), [("N,6", End("softmax", 1)), ("N,6,1,1", End("softmax", 1))])
def test_a_softmax_of_old_opsets_runs_over_all_axes_from_one_on(shape, expected):
    assert end_of("y = Softmax<axis=1>(x)", shape=shape, opset=11) == expected
    assert end_of("y = Softmax<axis=1>(x)", shape="N,3,7", opset=11) == End()


def test_a_shape_that_tears_classes_apart_is_no_softmax():
    assert end_of("s = Softmax<axis=1>(x)\n y = Flatten(s)", shape="N,3,7") == End()


@pytest.mark.parametrize("reader", ["ArgMax<axis=1>", "Softmax<axis=1>"])
def test_the_network_may_look_for_the_largest_of_an_output(reader):
    kind = "int64" if reader.startswith("Arg") else "float"
    found = end_of(f"y = Relu(x)\n z = {reader}(y)", shape="N,6", outputs=f"float[?] y, {kind}[?] z")
    assert found == End("ranked", 1)


def test_the_largest_few_are_looked_for_along_the_last_axis():
    found = end_of("y = Relu(x)\n v, z = TopK(y, k)", shape="N,6", outputs="float[?] y, int64[?] z", k=np.array([2]))
    assert found == End("ranked", 1)
