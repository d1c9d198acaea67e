"""Real networks learn from themselves for a few steps, or one sentence says why they cannot."""

import re

import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.data.prepare import batch_size_of
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.errors import DataError, ModelError
from onnxshallow.model.network import Network
from onnxshallow.options.config import Config
from onnxshallow.options.quantities import read_length
from onnxshallow.runtime.progress import Silent
from onnxshallow.training.classroom import Lesson
from onnxshallow.training.distil import distil
from onnxshallow.validation.guess import find_kinds
from tests.corpus.test_corpus import FILES, load
from tests.graphs import interface

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")

# Networks of famous sizes whose weights are constants, and the one that takes a second a sample.
LARGE = ("light_", "fns-candy", "starry-night")
SMALL = [path for path in FILES if not any(name in path.name for name in LARGE)]
# Why a network cannot learn, where it cannot.
REASONS = (
    r"There is nothing to train: .*\.$|Synthetic data needs the size|fix their first axes"
    r"|onnxruntime (does not run|fails)"
)


def lesson(model: onnx.ModelProto) -> Lesson:
    """Two steps on made-up samples."""
    network = Network(model)
    batch = batch_size_of(network.inputs, Config(batch_size=2))
    samples = synthesize(network.inputs, 4 * batch, 0, Preprocessing(), None)
    return Lesson(
        original=analyze(network),
        optimized=network,
        squares=False,
        kinds=find_kinds(network, None, lambda: None),
        train=samples.take(np.arange(2 * batch)),
        held_out=[samples.batch(np.arange(2 * batch, 3 * batch))],
        batch=batch,
        length=read_length("2steps"),
        augment="none",
        threads=1,
    )


@pytest.mark.parametrize("path", SMALL, ids=[path.name for path in SMALL])
def test_a_few_steps(path):
    model = load(path).model
    try:
        found = distil(lesson(model), Silent())
    except (ModelError, DataError) as error:
        if re.search(REASONS, str(error)) is None:
            raise
        return
    assert found.trained > 0
    assert interface(found.model) == interface(model)
    assert [look.step for look in found.looks] == [0, 2]
    assert found.looks[0].damage < 1e-6
