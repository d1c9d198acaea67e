"""Run a whole model over batches."""

from collections.abc import Sequence

import numpy as np
import onnx

from onnxshallow.model.session import Session
from onnxshallow.runtime.cursor import Batches

__all__ = ["join_batches", "run_batches"]


def join_batches(outputs: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """One array an output from one list of batches an output; the first axis is the batch's."""
    return [np.concatenate([np.atleast_1d(batch) for batch in batches]) for batches in outputs]


def run_batches(model: onnx.ModelProto, batches: Batches, threads: int = 0) -> list[np.ndarray]:
    """The model's outputs on all batches, one array (N, ...) an output.

    Raises:
        ModelError: onnxruntime does not run the model.
    """
    session = Session(model, threads=threads)
    results = [session.run(batch) for batch in batches]
    return join_batches([[result[index] for result in results] for index in range(len(session.output_names))])
