"""Where activations live: in memory up to a budget, beyond it in unnamed temporary files."""

import logging
import tempfile
import weakref

import numpy as np

__all__ = ["ActivationStore", "default_memory"]

logger = logging.getLogger(__name__)


def default_memory() -> int:
    """Half of the memory that is free, in bytes; 4 GiB where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            free = next(int(line.split()[1]) for line in stream if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return 4 << 30
    return free * 1024 // 2


class ActivationStore:
    """Keeps arrays, in memory while they fit into the budget.

    What does not fit is written to a temporary file that has no name (or is deleted on closing, where the system
    knows no unnamed files), so that nothing is left behind however the process ends.

    Args:
        budget: bytes that may be held in memory at a time.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self.spilled = 0

    def keep(self, array: np.ndarray) -> np.ndarray:
        """Store `array`; the result holds the same values and must not be written to."""
        if not isinstance(array, np.ndarray):  # a sequence or a map, which onnxruntime gives as Python objects
            return array
        if self.used + array.nbytes <= self.budget or array.nbytes == 0 or array.dtype.hasobject:
            self.used += array.nbytes
            weakref.finalize(array, self._release, array.nbytes)
            return array
        if not self.spilled:
            logger.info("The memory budget of %d MiB is used up; spilling activations to disk.", self.budget >> 20)
        self.spilled += array.nbytes
        with tempfile.TemporaryFile(prefix="onnxshallow-") as stream:
            mapped = np.memmap(stream, dtype=array.dtype, mode="w+", shape=array.shape)
            mapped[...] = array
        mapped.setflags(write=False)
        return mapped

    def _release(self, size: int) -> None:
        self.used -= size
