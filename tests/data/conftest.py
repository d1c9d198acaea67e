import numpy as np
import pytest

from onnxshallow.model.tensors import TensorInfo


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def image_input() -> TensorInfo:
    """A network input of small colour images, in the usual layout."""
    return TensorInfo("input", np.dtype(np.float32), ("N", 3, 8, 8))
