"""CastLike of constants, as un-optimized exports of torch write biases and bounds."""

import onnx

from onnxshallow.model.network import Network
from onnxshallow.model.spelling.changes import Change

__all__ = ["constant_casts"]


def constant_casts(network: Network) -> list[Change]:
    """CastLike nodes that cast a constant, as Cast to the type of what they look at: then that is a constant too."""
    found = []
    for node in network.nodes:
        if not node.is_op("CastLike") or not network.is_constant(node.inputs[0]):
            continue
        info = network.inferred.get(node.outputs[0])
        if info is None or info.dtype is None:
            continue
        kind = onnx.helper.np_dtype_to_tensor_dtype(info.dtype)
        cast = onnx.helper.make_node("Cast", [node.inputs[0]], list(node.outputs), node.proto.name, to=kind)
        found.append(Change.of(network.model.graph, [node.index], [cast]))
    return found
