"""How an operator in torch is checked: its values and its gradients, by onnxruntime."""

import numpy as np
import onnx
import pytest

from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.training.graph import TorchGraph
from tests.networks import error_of, feeds_of

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")

_STEP = 1e-2


def check(model: onnx.ModelProto, *, trained: tuple[str, ...] = ("w",), gradient: bool = True) -> None:
    """Fail unless torch computes what onnxruntime does, and its gradients are those of finite differences.

    Args:
        model: one output, no matter what inputs.
        trained: the initializers that must be among the trained ones.
        gradient: whether there is any.
    """
    feeds = feeds_of(model)
    network = Network(model)
    graph = TorchGraph(network, network.output_names, trained=True)
    assert graph.lacks == ()
    (name,) = network.output_names
    (expected,) = Session(model, threads=1, optimize=False).run(feeds)
    made = graph(feeds)[name]
    assert error_of(made.detach().numpy(), expected) < 1e-4
    if not gradient:
        return
    assert set(trained) <= set(graph.parameters)
    random = np.random.default_rng(0)
    weights = random.normal(size=expected.shape).astype(np.float32)
    import torch

    (made * torch.from_numpy(weights)).sum().backward()
    for parameter in trained:
        direction = random.normal(size=tuple(graph.parameters[parameter].shape)).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ends = [_moved(model, parameter, sign * _STEP * direction, feeds) for sign in (1, -1)]
        difference = float(np.sum(weights.astype(np.float64) * (ends[0] - ends[1]))) / (2 * _STEP)
        slope = float(np.sum(graph.parameters[parameter].grad.numpy() * direction))
        assert slope == pytest.approx(difference, rel=2e-2, abs=2e-2), parameter


def _moved(model: onnx.ModelProto, name: str, change: np.ndarray, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """The output with an initializer changed, in float64."""
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    tensor = next(tensor for tensor in moved.graph.initializer if tensor.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + change, name))
    return Session(moved, threads=1, optimize=False).run(feeds)[0].astype(np.float64)
