"""In which order the channels of tensors stand, as a note in the model that has them so.

A tensor keeps its name when the graph around it is rewritten, so that it can be compared with the original's. Where
its channels were put in another order as well (`onnxshallow.rewriting.lowering.reindex`), that has to be known.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.notes import arrays_of, with_arrays

__all__ = ["orders_of", "with_orders"]

_NAME = "orders"


def orders_of(model: onnx.ModelProto) -> dict[str, NDArray[np.int64]]:
    """By tensor which of the original's channels each of its own is, (C,); those that are as they were are not named.

    A note that cannot be read counts as none.
    """
    return {name: values for name, values in arrays_of(model, _NAME).items() if _is_order(values)}


def with_orders(model: onnx.ModelProto, orders: Mapping[str, NDArray[np.int64]]) -> onnx.ModelProto:
    """The model with a note of these orders in the place of the one that it has, if any.

    Tensors that lack some channels are left out: they can be compared with none of the original's.
    """
    return with_arrays(model, _NAME, {name: order.tolist() for name, order in orders.items() if _is_order(order)})


def _is_order(values: NDArray[np.int64]) -> bool:
    """Whether each channel is there once."""
    return values.ndim == 1 and values.dtype.kind == "i" and np.array_equal(np.sort(values), np.arange(len(values)))
