import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.operators.table import lacking
from tests.networks import build
from tests.training.operators.gradients import check

WINDOWS = [
    "kernel_shape=[2,2]",
    "kernel_shape=[3,2], strides=[2,2], pads=[1,0,0,1]",
    "kernel_shape=[3,3], strides=[2,2], ceil_mode=1",
    'kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER"',
]


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("attributes", WINDOWS)
def test_pools(op, attributes):
    text = f"(float[2,3,7,8] x) => (float[2,3,H,W] y) {{ h = Mul(x, w) y = {op}<{attributes}>(h) }}"
    check(build(text, w=(3, 7, 8)))


def test_an_average_that_counts_the_padding():
    attributes = "kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1"
    text = f"(float[2,3,6,6] x) => (float[2,3,6,6] y) {{ h = Mul(x, w) y = AveragePool<{attributes}>(h) }}"
    check(build(text, w=(3, 6, 6)))


def test_dilated_max_pool():
    pool = "MaxPool<kernel_shape=[2,2], dilations=[2,2]>"
    text = f"(float[2,3,7,7] x) => (float[2,3,H,W] y) {{ h = Mul(x, w) y = {pool}(h) }}"
    check(build(text, w=(3, 7, 7)))


def test_pool_of_one_axis():
    check(build("(float[2,3,9] x) => (float[2,3,L] y) { h = Mul(x, w) y = MaxPool<kernel_shape=[3]>(h) }", w=(3, 9)))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op):
    check(build(f"(float[2,3,4,4] x) => (float[2,3,1,1] y) {{ h = Mul(x, w) y = {op}(h) }}", w=(3, 4, 4)))


def test_a_max_pool_that_gives_indices_is_not_known():
    text = "(float[2,3,4,4] x) => (float[2,3,3,3] y, int64[2,3,3,3] i) { y, i = MaxPool<kernel_shape=[2,2]>(x) }"
    assert lacking(Network(build(text)).nodes[0], 17) == "MaxPool with indices"
