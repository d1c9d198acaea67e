"""How `--memory` is divided: what the process holds already, copies of the model, activations, one fit, one batch."""

import logging
import math
from dataclasses import dataclass

from onnxshallow.analysis import Analysis
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.options.config import Config
from onnxshallow.options.quantities import parse_bytes
from onnxshallow.runtime.store import default_memory, memory_in_use, return_freed_memory
from onnxshallow.runtime.waypoints import MOST_BYTES

__all__ = ["Memory", "bytes_of_copies", "bytes_of_sample", "divide_memory"]

logger = logging.getLogger(__name__)

# The fewest bytes for activations, for a fit, and for a batch.
_LEAST = 64 << 20
# What the widest node reads and makes is held so many times by onnxruntime and its reader while a batch runs.
_ALIVE = 4
# Copies of the weights: of the model as it was read, as it is understood, rewritten and run.
_COPIES = 6
# Where changes begin there are kept activations of this part at the most.
_WAYPOINTS = 1 / 16


@dataclass(frozen=True)
class Memory:
    """Bytes for each purpose.

    Attributes:
        activations: kept in memory; further ones go to disk.
        fit: for the sums of one fit, which takes as much again for its rows.
        batch: for what is alive while one batch runs.
    """

    activations: int
    fit: int
    batch: int

    def batch_size(self, analysis: Analysis, wanted: int) -> int:
        """As many samples a batch as wanted, or as few as fit."""
        return max(1, min(wanted, self.batch // bytes_of_sample(analysis)))


def divide_memory(config: Config, analysis: Analysis) -> Memory:
    """What `--memory` says, divided; a share of what is free where it says nothing.

    What a fit and a batch may take decides what is fitted to what. So it depends on the options alone, and where they
    say nothing it is the same on every machine.
    """
    if config.memory is None:
        return Memory(default_memory(), FitOptions.memory, FitOptions.memory)
    return_freed_memory()
    memory = parse_bytes(config.memory)
    share = max(memory // 5, _LEAST)
    besides = memory_in_use() + bytes_of_copies(analysis) + min(MOST_BYTES, int(_WAYPOINTS * memory))
    rest = memory - 3 * share - besides
    if rest < _LEAST:
        logger.warning("--memory %s is too little; about %d MiB more are used.", config.memory, (_LEAST - rest) >> 20)
    return Memory(max(rest, _LEAST), share, share)


def bytes_of_copies(analysis: Analysis) -> int:
    """What all copies of a model's weights take."""
    return _COPIES * sum(4 * math.prod(layer.weight_shape) for layer in analysis.layers)


def bytes_of_sample(analysis: Analysis) -> int:
    """What is alive while one sample runs: some times what the widest node reads and makes."""
    sizes = _sizes(analysis)
    nodes = (node for node in analysis.network.nodes if node.index in analysis.network.alive)
    widest = max((sum(sizes.get(name, 0) for name in {*node.inputs, *node.outputs}) for node in nodes), default=0)
    return _ALIVE * max(widest, 1)


def _sizes(analysis: Analysis) -> dict[str, int]:
    """Bytes of what each node makes for one sample, by tensor, where that is known."""
    network = analysis.network
    made = [name for node in network.nodes if node.index in network.alive for name in node.outputs if name]
    shapes = {name: network.full_shape(name) for name in made if not network.is_constant(name)}
    return {name: 4 * network.per_sample(math.prod(shape)) for name, shape in shapes.items() if shape is not None}
