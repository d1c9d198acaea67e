import numpy as np
import pytest

from tests.networks import build
from tests.training.operators.gradients import check

REDUCTIONS = ["L1", "L2", "Max", "Mean", "Min", "Sum", "SumSquare"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keep", [0, 1])
def test_over_named_axes(name, keep):
    shape = "2,1,4" if keep else "2,4"
    text = f"(float[2,3,4] x) => (float[{shape}] y) {{ h = Mul(x, w) y = Reduce{name}<keepdims={keep}>(h, axes) }}"
    check(build(text, opset=18, w=(3, 4), axes=np.array([1])))


def test_over_axes_of_an_attribute():
    text = "(float[2,3,4] x) => (float[2,1,1] y) { h = Mul(x, w) y = ReduceMean<axes=[1,-1]>(h) }"
    check(build(text, opset=13, w=(3, 4)))


def test_over_all_axes():
    check(build("(float[2,3,4] x) => (float[1,1,1] y) { h = Mul(x, w) y = ReduceMean(h) }", opset=13, w=(3, 4)))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("opset", "axis"), [(17, 1), (17, -1), (11, 1), (11, 2)])
def test_over_classes(op, opset, axis):
    text = f"(float[2,3,4] x) => (float[2,3,4] y) {{ h = Mul(x, w) y = {op}<axis={axis}>(h) }}"
    check(build(text, opset=opset, w=(3, 4)))
