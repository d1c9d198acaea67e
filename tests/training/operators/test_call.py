import pytest

from onnxshallow.model.network import Network
from onnxshallow.training.operators.call import Call, integers
from tests.networks import build

torch = pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def test_axes_come_from_an_input_or_an_attribute():
    (node,) = Network(build("(float[2,3] x) => (float[2,1] y) { y = ReduceMean<axes=[1]>(x) }")).nodes
    call = Call(node, 17)
    assert call.axes(None) == [1]
    assert call.axes(torch.tensor([0, -1])) == [0, -1]
    assert call.axes(None, "split") is None
    assert call.get("keepdims", 1) == 1


def test_integers():
    assert integers(torch.tensor(3)) == [3]
    assert integers(torch.tensor([[1, 2]])) == [1, 2]
