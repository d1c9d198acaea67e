"""By how much the channels of tensors were multiplied, as a note in the model that has them so.

A tensor keeps its name when the graph around it is rewritten, so that it can be compared with the original's. Where
its channels were multiplied by numbers as well (`onnxshallow.rewriting.lowering.rescale`), these have to be known.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.model.notes import arrays_of, with_arrays

__all__ = ["scales_of", "with_scales"]

_NAME = "scales"


def scales_of(model: onnx.ModelProto) -> dict[str, NDArray[np.float64]]:
    """By tensor what its channels are multiplied by, (C,); tensors that are as they were are not named.

    A note that cannot be read counts as none.
    """
    found = arrays_of(model, _NAME).items()
    numbers = {name: values.astype(np.float64) for name, values in found if values.dtype.kind in "if"}
    return {name: values for name, values in numbers.items() if values.ndim == 1 and np.all(values > 0)}


def with_scales(model: onnx.ModelProto, scales: Mapping[str, NDArray[np.float64]]) -> onnx.ModelProto:
    """The model with a note of these scales in the place of the one that it has, if any."""
    return with_arrays(model, _NAME, {n: [float(f"{value:.7g}") for value in values] for n, values in scales.items()})
