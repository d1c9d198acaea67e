"""How fast this machine is at what a run consists of, measured in about a second.

Five things take time: running the network, the sums of fits, gathering the rows that they are of, turning to the next
batch, and all that goes along with each change, such as reading a graph and making a session.

What is measured is the time that one thread computes, the quickest of a few tries, so that other work on the machine
does not move it. How much longer it took by the clock says how busy the machine is with other work.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from onnxshallow.analysis import analyze
from onnxshallow.convolution import Convolution
from onnxshallow.fitting.patches import gather_patches
from onnxshallow.fitting.products import cross_product, gram
from onnxshallow.model.providers import CPU, current_providers
from onnxshallow.model.session import Session, usable_cores
from onnxshallow.search.inputs import Inputs

__all__ = ["Pace", "measured_pace"]

# Tries of each at least and at most, and seconds that they go on for.
_TRIES, _MOST_TRIES, _SECONDS = 2, 20, 0.25
# Seconds from which more samples at once tell no more.
_MOMENT = 0.02
# Rows, unknowns and outputs of the fit that stands for all.
_ROWS, _UNKNOWNS, _OUTPUTS = 2048, 576, 64
# Images, channels and height and width of those whose rows stand for all; and batches that are turned to at a time.
_IMAGES, _CHANNELS, _SIZE, _BATCHES = 16, 64, 16, 200
# A clock whose ticks are longer tells nothing of what is measured here.
_COARSE = 1e-3


@dataclass(frozen=True)
class Pace:
    """Seconds on this machine, did it nothing else.

    Attributes:
        sample: to run the network on one sample.
        flop: of a multiply-add of a fit.
        cell: to gather one number of the rows of a fit.
        batch: to gather the rows of a batch, did it hold but one number.
        build: to find a network's parts and to make a session of it.
        busy: how many times as long everything takes, as the machine does other things.
    """

    sample: float
    flop: float
    cell: float
    batch: float
    build: float
    busy: float = 1.0


def measured_pace(inputs: Inputs) -> Pace:
    """The pace of this machine with a network and the threads of a run.

    Args:
        inputs: the network and its samples.

    Raises:
        ModelError: onnxruntime fails on the network.
    """
    watch = _Watch(all(provider.name == CPU for provider in current_providers()))
    model, threads = inputs.document.plain.model, inputs.calibration.threads
    session = Session(model, threads=threads)
    sample = _of_sample(inputs, session, watch)
    build = watch.quickest(lambda: _built(inputs))
    together = threads or usable_cores()
    return Pace(sample, _of_flop(watch) / together, _of_cell(watch) / together, _of_batch(watch), build, watch.busy)


@dataclass
class _Watch:
    """Measures seconds of the quickest of some tries.

    Attributes:
        computing: whether the time that this thread computes counts, and not the clock; not where it waits for a
            device.
        computed: seconds that it computed in all.
        passed: seconds that passed meanwhile.
    """

    computing: bool
    computed: float = 0.0
    passed: float = 0.0
    fine: bool = field(default_factory=lambda: time.get_clock_info("thread_time").resolution < _COARSE)

    def quickest(self, work: Callable[[], object]) -> float:
        taken: list[float] = []
        begin = time.perf_counter()
        while len(taken) < _TRIES or (time.perf_counter() - begin < _SECONDS and len(taken) < _MOST_TRIES):
            started, computed = time.perf_counter(), time.thread_time()
            work()
            computed, passed = time.thread_time() - computed, time.perf_counter() - started
            self.computed += computed
            self.passed += passed
            taken.append(computed if self.computing and self.fine else passed)
        return min(taken)

    @property
    def busy(self) -> float:
        """How many times as long as it computed the clock says; 1 where that cannot be told."""
        return max(1.0, self.passed / self.computed) if self.computing and self.fine and self.computed else 1.0


def _built(inputs: Inputs) -> object:
    model = inputs.document.plain.model
    return analyze(model, inputs.analysis.network.input_shapes), Session(model, threads=inputs.calibration.threads)


def _of_sample(inputs: Inputs, session: Session, watch: _Watch) -> float:
    """Seconds a sample, of as many at once as take a moment; of whole batches where the model fixes their size."""
    batch = inputs.calibration.batches[0]
    whole = len(next(iter(batch.values())))
    count = whole if inputs.fixed_batch else 1
    while True:
        some = {name: values[:count] for name, values in batch.items()}
        seconds = watch.quickest(partial(session.run, some))
        if 2 * count > whole or seconds > _MOMENT:
            return seconds / count
        count *= 2


def _of_flop(watch: _Watch) -> float:
    random = np.random.default_rng(0)
    patches, targets = (random.standard_normal((1, _ROWS, n), dtype=np.float32) for n in (_UNKNOWNS, _OUTPUTS))
    seconds = watch.quickest(lambda: (gram(patches), cross_product(patches, targets)))
    return seconds / (_ROWS * _UNKNOWNS * (_UNKNOWNS + _OUTPUTS))


def _of_cell(watch: _Watch) -> float:
    gather, cells = _gathering(_IMAGES, _CHANNELS, _SIZE, 3)
    return watch.quickest(gather) / cells


def _of_batch(watch: _Watch) -> float:
    gather, _ = _gathering(1, 1, 1, 1)
    return watch.quickest(lambda: [gather() for _ in range(_BATCHES)]) / _BATCHES


def _gathering(images: int, channels: int, size: int, kernel: int) -> tuple[Callable[[], object], int]:
    """Gathers what lies under a kernel at every place of some images, and how many numbers these are."""
    one, pads = (1, 1), (kernel // 2, kernel // 2)
    weight = np.ones((channels, 1, kernel, kernel))
    convolution = Convolution(weight, np.zeros(channels), one, one, pads, pads, channels)
    values = np.random.default_rng(0).standard_normal((images, channels, size, size), dtype=np.float32)
    cells = np.empty((channels, images * size**2, kernel**2), np.float32)
    return partial(gather_patches, values, convolution, None, cells), cells.size
