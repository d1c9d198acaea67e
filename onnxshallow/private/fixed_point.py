"""A network as it is computed in fixed point, simulated: all numbers are whole multiples of 2^-f.

Engines of secure computation hold a number x as the integer round(x 2^f), modulo 2^64 (SPU, CrypTen, MP-SPDZ). Sums
and comparisons are exact. A product has 2 f bits after the point, of which f are cut off once a layer's products are
added up; engines round there at random or to the nearest, here it is to the nearest. So

    inputs and weights        are rounded
    a layer, a product        is computed exactly from these, then rounded
    all else                  is exact

and a product wraps around where it reaches 2^(63 - 2f). Functions that engines approximate, such as Sigmoid, are
computed exactly and rounded. Values run as float32, which is itself coarser than 2^-18 beyond 64.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from onnxshallow.analysis import Analysis
from onnxshallow.errors import ModelError
from onnxshallow.model.weights import value_of
from onnxshallow.runtime.segment import build_segment

__all__ = ["FIELD_BITS", "FRACTION_BITS", "in_fixed_point", "largest_value"]

FRACTION_BITS = 18
"""Bits after the point, as SPU has them by default."""

FIELD_BITS = 64
"""Bits of an integer."""

# What these make of multiples of 2^-f are such multiples.
_EXACT = (
    "Relu", "Clip", "Max", "Min", "Abs", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "ReduceSum", "Add",
    "Sub", "Sum", "Neg", "Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat",
    "Split", "Slice", "Gather", "Pad", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Where", "Floor", "Round",
    "Ceil", "Sign",
)  # fmt: skip


def largest_value(fraction_bits: int = FRACTION_BITS) -> float:
    """The size at which a product wraps around."""
    return 2.0 ** (FIELD_BITS - 1 - 2 * fraction_bits)


def in_fixed_point(analysis: Analysis, fraction_bits: int = FRACTION_BITS) -> onnx.ModelProto:
    """A model of float32 that computes what fixed point arithmetic would.

    Each of its layers is one node, as engines fold BatchNormalizations and the like before they share weights.

    Args:
        analysis: of the network.
        fraction_bits: f.

    Raises:
        ModelError: the network's opset is older than 7, which broadcasts otherwise.
    """
    network, layers = analysis.network, analysis.layers
    if network.opset < 7:
        raise ModelError(
            f"Opset {network.opset} is older than 7, so that fixed point cannot be simulated; convert the model with "
            "onnx.version_converter first."
        )
    whole = {layer: layers.convolution(layer) for layer in layers}
    model, _ = build_segment(network, network.alive, network.output_names, whole)
    unit = 2.0**fraction_bits
    for tensor in model.graph.initializer:
        _round_stored(tensor, unit)
    inputs = [value.name for value in model.graph.input if network.dtype(value.name) == np.float32]
    names = {name: f"{name}//rounded" for name in inputs}
    written = [node for place, name in enumerate(inputs) for node in _cut(name, names[name], place)]
    for proto in model.graph.node:
        proto.input[:] = [names.get(name, name) for name in proto.input]
        written.append(proto)
        if proto.op_type == "Constant":
            for attribute in proto.attribute:
                _round_stored(attribute.t, unit)
        elif proto.op_type not in _EXACT:
            for position, name in enumerate(proto.output):
                if name and network.dtype(name) == np.float32:
                    proto.output[position] = f"{name}//exact"
                    written.extend(_cut(f"{name}//exact", name, len(written)))
    del model.graph.node[:]
    model.graph.node.extend(written)
    for name, value in (("//unit", unit), ("//step", 1 / unit)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return model


def _round_stored(tensor: onnx.TensorProto, unit: float) -> None:
    """Round the values that a model stores."""
    if tensor.data_type == onnx.TensorProto.FLOAT:
        values = np.round(value_of(tensor).astype(np.float64) * unit) / unit
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def _cut(read: str, made: str, seed: int) -> Iterator[onnx.NodeProto]:
    """Nodes that round up or down at random: floor(x 2^f + u) 2^-f with u even between 0 and 1."""
    units, chance, raised, floor = (f"{made}//{part}" for part in ("units", "chance", "raised", "floor"))
    yield onnx.helper.make_node("Mul", [read, "//unit"], [units])
    yield onnx.helper.make_node("RandomUniformLike", [units], [chance], seed=float(seed), low=-1.0, high=0.0)
    yield onnx.helper.make_node("Add", [units, chance], [raised])
    yield onnx.helper.make_node("Floor", [raised], [floor])
    yield onnx.helper.make_node("Mul", [floor, "//step"], [made])
