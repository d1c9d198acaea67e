"""How `--memory` is divided: what the process holds already, activations, one fit, one batch."""

import logging
from dataclasses import dataclass

import numpy as np

from onnxshallow.analysis import Analysis
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.options.config import Config
from onnxshallow.options.quantities import parse_bytes
from onnxshallow.runtime.store import default_memory, memory_in_use, return_freed_memory

__all__ = ["Memory", "divide_memory"]

logger = logging.getLogger(__name__)

# The fewest bytes for activations, for a fit, and for a batch.
_LEAST = 64 << 20
# The largest tensors that onnxruntime and its reader hold at a time while a batch runs.
_TENSORS_ALIVE = 6


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
        return max(1, min(wanted, self.batch // (_TENSORS_ALIVE * _largest_tensor(analysis))))


def divide_memory(config: Config) -> Memory:
    """What `--memory` says, divided; a share of what is free where it says nothing.

    What a fit and a batch may take decides what is fitted to what. So it depends on the options alone, and where they
    say nothing it is the same on every machine.
    """
    if config.memory is None:
        return Memory(default_memory(), FitOptions.memory, FitOptions.memory)
    return_freed_memory()
    memory = parse_bytes(config.memory)
    share = max(memory // 5, _LEAST)
    rest = memory - 3 * share - memory_in_use()
    if rest < _LEAST:
        logger.warning("--memory %s is too little; about %d MiB more are used.", config.memory, (_LEAST - rest) >> 20)
    return Memory(max(rest, _LEAST), share, share)


def _largest_tensor(analysis: Analysis) -> int:
    """Bytes of the largest tensor that one sample makes."""
    network = analysis.network
    infos = [network.infos[name] for node in network.nodes for name in node.outputs if name in network.infos]
    sizes = [info.size * (info.dtype or np.dtype(np.float32)).itemsize for info in infos if info.shape is not None]
    return max(sizes, default=4)
