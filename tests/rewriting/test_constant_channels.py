import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.rewriting.constant_channels import constants_in_biases
from onnxshallow.rewriting.lossless import lossless
from tests.graphs import assert_same_function, parse, signed

WEIGHTS = signed("w", (6, 3, 3, 3)) * np.array([1, 0, 1, 0, 0, 1], np.float32).reshape(6, 1, 1, 1)
UNREAD = np.array([1, 0, 1, 1, 0, 1], np.float32).reshape(1, 6, 1, 1)
BIAS = np.array([1, 2, -1, -2, 0.5, -3], np.float32)


def model(readers: str, **weights):
    text = f"(float[N,3,8,8] x) => (float[N,2,h,w] y) {{ a = Conv(x, w, b) r = Relu(a) {readers} }}"
    return parse(text, w=WEIGHTS, b=BIAS, **weights)


@pytest.mark.parametrize(
    ("readers", "weights"),
    [
        ("y = Conv(r, v)", dict(v=(2, 6, 3, 3))),
        ("y = Conv(r, v, c)", dict(v=(2, 6, 1, 1), c=(2,))),
        ("s = Conv(r, v) t = Conv<pads=[1,1,1,1]>(r, u) y = Add(s, t)", dict(
            v=(2, 6, 1, 1), u=signed("u", (2, 6, 3, 3)) * UNREAD)),
        ("p = MaxPool<kernel_shape=[2,2]>(r) y = Conv(p, v)", dict(v=(2, 6, 3, 3))),
    ],
)  # fmt: skip
def test_what_is_one_number_goes_into_the_bias_of_who_reads_it(readers, weights):
    first = model(readers, **weights)
    made, removed = lossless(first)
    assert_same_function(made, first)
    assert removed.channels == 3  # 1 and 4 are numbers, 3 is silent
    assert next(tuple(t.dims) for t in made.graph.initializer if t.dims[1:] == [3, 3, 3]) == (3, 3, 3, 3)


def test_a_flattened_channel_is_a_number_for_each_pixel():
    first = model("f = Flatten(r) g = Gemm(f, v) y = Unsqueeze(g, axes)", v=(216, 2), axes=np.array([2, 3]))
    made, removed = lossless(first)
    assert_same_function(made, first)
    assert removed.channels == 3


def test_padding_beside_a_number_keeps_it():
    first = model("y = Conv<pads=[1,1,1,1]>(r, v)", v=(2, 6, 3, 3))
    assert constants_in_biases(analyze(first)) == {}
    made, removed = lossless(first)
    assert_same_function(made, first)
    assert removed.channels == 1


def test_one_reader_that_pads_keeps_it_for_all():
    first = model("s = Conv(r, v) t = Conv<pads=[1,1,1,1]>(r, u) y = Add(s, t)", v=(2, 6, 1, 1), u=(2, 6, 3, 3))
    assert constants_in_biases(analyze(first)) == {}
