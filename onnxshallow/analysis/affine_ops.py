"""What a node does to each channel, when that is a scale and a shift, or nothing at all."""

import numpy as np

from onnxshallow.model.network import Network, Node

__all__ = ["batch_normalization", "channel_affine", "channel_constant", "is_passthrough", "training_nodes"]


def is_passthrough(network: Network, node: Node) -> bool:
    """Whether `node` returns its first input unchanged: Identity, or Dropout in inference mode."""
    if node.is_op("Identity"):
        return True
    if not node.is_op("Dropout") or any(network.consumers(mask) for mask in node.outputs[1:] if mask):
        return False
    if any(network.is_output(mask) for mask in node.outputs[1:]):
        return False
    if network.opset < 7:
        return bool(node.attributes.get("is_test", 0))
    if len(node.inputs) > 2 and node.inputs[2]:
        training = network.constant(node.inputs[2])
        return training is not None and not bool(np.any(training))
    return True


def training_nodes(network: Network) -> list[str]:
    """Names of the nodes that run as in training: their outputs depend on the batch, or on chance."""
    return [
        node.name
        for node in network.nodes
        if node.index in network.alive
        and (
            (node.is_op("BatchNormalization") and bool(node.attributes.get("training_mode", 0)))
            or (node.is_op("Dropout") and _drops(network, node))
        )
    ]


def _drops(network: Network, node: Node) -> bool:
    """Whether a Dropout leaves values out for sure."""
    if network.opset < 12 or len(node.inputs) < 3 or not node.inputs[2]:
        return False
    training = network.constant(node.inputs[2])
    return training is not None and bool(np.any(training))


def batch_normalization(network: Network, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift, (C,) in float64 each, of a BatchNormalization in inference mode.

    y = scale * (x - mean) / sqrt(variance + epsilon) + B, channel by channel.

    Returns:
        None where the node trains, has further outputs that are read, or has parameters that are no constants.
    """
    if node.attributes.get("training_mode", 0) or node.attributes.get("spatial", 1) == 0:
        return None
    if network.opset < 7 and not node.attributes.get("is_test", 0):
        return None
    if 7 <= network.opset < 14 and any(node.outputs[1:]):  # in these versions that is what asks for training
        return None
    if any(network.consumers(name) or network.is_output(name) for name in node.outputs[1:] if name):
        return None
    values = [network.constant(name) for name in node.inputs[1:5]]
    if len(values) != 4 or any(value is None for value in values):
        return None
    scale, shift, mean, variance = (np.asarray(value, dtype=np.float64).reshape(-1) for value in values)
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused below
        factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    if not np.all(np.isfinite(factor)):
        return None
    return factor, shift - mean * factor


def channel_affine(
    network: Network, node: Node, tensor: str, rank: int, channels: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift, (C,) in float64 each, if `node` applies them to `tensor`, (N, C, *spatial).

    Args:
        network: the network.
        node: a BatchNormalization, a Neg, or arithmetic with a constant.
        tensor: what it reads besides constants.
        rank: number of spatial axes.
        channels: number of channels C.

    Returns:
        None for other nodes, and where the constant is not one number a channel.
    """
    one, zero = np.ones(channels), np.zeros(channels)
    if node.is_op("BatchNormalization"):
        return batch_normalization(network, node)
    if node.is_op("Neg"):
        return -one, zero
    if not node.is_op("Mul", "Add", "Sub", "Div") or len(node.inputs) != 2 or network.opset < 7:
        return None
    left = node.inputs[0] == tensor
    value = network.constant(node.inputs[1 if left else 0])
    flat = None if value is None else channel_constant(value, rank, channels)
    if flat is None or value is None or not np.issubdtype(value.dtype, np.floating):
        return None
    if node.op == "Mul":
        return flat, zero
    if node.op == "Add":
        return one, flat
    if node.op == "Sub":
        return (one, -flat) if left else (-one, flat)
    return (1 / flat, zero) if left and np.all(flat != 0) else None


def channel_constant(value: np.ndarray, rank: int, channels: int) -> np.ndarray | None:
    """A constant that is broadcast against (N, C, *spatial), as one float64 number a channel.

    Args:
        value: the constant.
        rank: number of spatial axes of the other operand.
        channels: number of its channels C.

    Returns:
        (C,) values, or None where `value` varies along another axis than the channels, which is so for a
        plain (C,) vector too unless there are no spatial axes.
    """
    if value.ndim > rank + 2:
        return None
    shape = (1,) * (rank + 2 - value.ndim) + value.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1) or shape[1] not in (1, channels):
        return None
    return np.broadcast_to(np.asarray(value, dtype=np.float64).reshape(-1), (channels,)).copy()
