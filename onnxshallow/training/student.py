"""The network that learns: its weights, their running mean, and how a step changes them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from onnxshallow.model.network import Network
from onnxshallow.model.weights import value_of
from onnxshallow.training.course import Course, rate_of
from onnxshallow.training.graph import TorchGraph
from onnxshallow.training.optimizer import Optimizer
from onnxshallow.training.trainable import held

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Student", "moved_towards", "with_weights"]

# Of the running mean of the weights, which is what is kept: it is steadier than the weights of any one step.
_MEMORY = 0.99
# Gradients are cut to this length: an activation that explodes must not throw all weights away.
_LONGEST = 1.0


class Student:
    """The weights of a graph as they are trained.

    Args:
        graph: with the weights to train.
        course: how long, and how far in each step.
    """

    def __init__(self, graph: TorchGraph, course: Course) -> None:
        import torch

        self.graph, self.course, self.step = graph, course, 0
        self._free: dict[str, Tensor] = {}
        sizes = {}
        for name, weight in graph.parameters.items():
            kept = held(graph.network, name, weight.detach().cpu().numpy())
            if kept is not None:
                self._free[name] = torch.from_numpy(~kept).to(weight.device)
            size = float(weight.detach().double().square().mean().sqrt())
            sizes[name] = rate_of(size, weight.dim() > 1)
        self._optimizer = Optimizer(graph.parameters, sizes, self._free)
        self._mean = {name: weight.detach().clone() for name, weight in graph.parameters.items()}

    def learn(self, loss: "Tensor") -> bool:
        """Change the weights by one step down a loss; a loss that is not finite changes nothing.

        Returns:
            Whether it changed them.
        """
        import torch

        rate = self.course.rate(self.step)
        self.step += 1
        weights = self.graph.parameters
        for weight in weights.values():
            weight.grad = None
        loss.backward()
        for name, free in self._free.items():
            gradient = weights[name].grad
            if gradient is not None:
                gradient.mul_(free)
        length = torch.nn.utils.clip_grad_norm_(list(weights.values()), _LONGEST)
        if not bool(torch.isfinite(length)):
            return False
        self._optimizer.step(rate)
        memory = min(_MEMORY, self.step / (self.step + 9))
        for name, weight in weights.items():
            self._mean[name].lerp_(weight.detach(), 1 - memory)
        return True

    def model(self) -> onnx.ModelProto:
        """The model with the running mean of the weights."""
        return with_weights(self.graph.network, {name: mean.cpu().numpy() for name, mean in self._mean.items()})

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on."""
        weights = {name: weight.detach() for name, weight in self.graph.parameters.items()}
        return {"step": self.step, "weights": weights, "mean": self._mean, "optimizer": self._optimizer.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken."""
        import torch

        self.step = state["step"]
        with torch.no_grad():
            for name, weight in self.graph.parameters.items():
                weight.copy_(state["weights"][name])
                self._mean[name].copy_(state["mean"][name])
        self._optimizer.restore(state["optimizer"])


def with_weights(network: Network, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A copy of a model that differs in the values of some initializers, and in nothing else.

    Args:
        network: of the model.
        values: by name; each becomes of the initializer's type. What a weight was is kept where it did not change.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            before = value_of(tensor)
            after = np.ascontiguousarray(values[tensor.name].reshape(before.shape), dtype=before.dtype)
            filled = onnx.numpy_helper.from_array(after, tensor.name)
            for field in ("float_data", "int32_data", "double_data", "raw_data", "external_data", "data_location"):
                tensor.ClearField(field)
            tensor.raw_data = filled.raw_data
    return model


def moved_towards(network: Network, learned: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """The model of a network with its weights moved a part of the way to those that it learned.

    Between a network and what it was fine-tuned to, accuracy rises steadily as a rule (Wortsman et al., "Robust
    fine-tuning of zero-shot models", arXiv 2109.01903).

    Args:
        network: the start.
        learned: of the same nodes and initializers.
        share: of the way, from 0 to 1.
    """
    before = {tensor.name: tensor for tensor in network.model.graph.initializer}
    values = {}
    for tensor in learned.graph.initializer:
        if tensor.SerializeToString() != before[tensor.name].SerializeToString():
            start, end = (value_of(each).astype(np.float64) for each in (before[tensor.name], tensor))
            values[tensor.name] = start + share * (end - start)
    return with_weights(network, values)
