"""Weights that are stored by their places and values, as the plain tensors that they stand for."""

import numpy as np
import onnx

from onnxshallow.model.weights import value_of

__all__ = ["with_dense_weights"]


def with_dense_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose sparse initializers are plain ones; the model itself where it has none."""
    if not model.graph.sparse_initializer:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.initializer.extend(_dense(tensor) for tensor in model.graph.sparse_initializer)
    del made.graph.sparse_initializer[:]
    return made


def _dense(tensor: onnx.SparseTensorProto) -> onnx.TensorProto:
    values, places = value_of(tensor.values), value_of(tensor.indices)
    dense = np.zeros(tuple(tensor.dims), values.dtype)
    if places.ndim == 2:  # an index for each axis
        dense[tuple(places.T)] = values
    else:
        dense.reshape(-1)[places] = values
    return onnx.numpy_helper.from_array(dense, tensor.values.name)
