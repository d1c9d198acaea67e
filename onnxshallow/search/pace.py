"""How fast this machine is at what a run consists of, measured in about a second.

Three things take time: running the network, the sums of fits, and all that goes along with each change, such as
reading a graph and making a session. What is measured is the quickest of a few tries, as of a machine that does
nothing else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from onnxshallow.analysis import analyze
from onnxshallow.fitting.products import cross_product, gram
from onnxshallow.model.session import Session
from onnxshallow.search.inputs import Inputs

__all__ = ["Pace", "measured_pace"]

# Tries of each at least and at most, and seconds that they go on for.
_TRIES, _MOST_TRIES, _SECONDS = 2, 20, 0.25
# Seconds from which more samples at once tell no more.
_MOMENT = 0.02
# Rows, unknowns and outputs of the fit that stands for all.
_ROWS, _UNKNOWNS, _OUTPUTS = 8192, 576, 64


@dataclass(frozen=True)
class Pace:
    """Seconds on this machine.

    Attributes:
        sample: to run the network on one sample.
        flop: of a multiply-add of a fit, as `onnxshallow.search.compete.fit_flops` counts them.
        build: to find a network's parts and to make a session of it.
    """

    sample: float
    flop: float
    build: float


def measured_pace(inputs: Inputs) -> Pace:
    """The pace of this machine with a network and the threads of a run.

    Args:
        inputs: the network and its samples.

    Raises:
        ModelError: onnxruntime fails on the network.
    """
    model, threads = inputs.document.plain.model, inputs.calibration.threads
    build = _quickest(lambda: (analyze(model, inputs.analysis.network.input_shapes), Session(model, threads=threads)))
    return Pace(_of_sample(inputs, Session(model, threads=threads)), _of_flop(), build)


def _of_sample(inputs: Inputs, session: Session) -> float:
    """Seconds a sample, of as many at once as take a moment; of whole batches where the model fixes their size."""
    batch = inputs.calibration.batches[0]
    whole = len(next(iter(batch.values())))
    count = whole if inputs.fixed_batch else 1
    while True:
        some = {name: values[:count] for name, values in batch.items()}
        seconds = _quickest(partial(session.run, some))
        if 2 * count > whole or seconds > _MOMENT:
            return seconds / count
        count *= 2


def _of_flop() -> float:
    random = np.random.default_rng(0)
    patches, targets = (random.standard_normal((1, _ROWS, n), dtype=np.float32) for n in (_UNKNOWNS, _OUTPUTS))
    seconds = _quickest(lambda: (gram(patches), cross_product(patches, targets)))
    return seconds / (_ROWS * _UNKNOWNS * (_UNKNOWNS + _OUTPUTS))


def _quickest(work: Callable[[], object]) -> float:
    """Seconds of the quickest of some tries."""
    taken: list[float] = []
    while len(taken) < _TRIES or (sum(taken) < _SECONDS and len(taken) < _MOST_TRIES):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return min(taken)
