"""Where activations live: in memory up to a budget, beyond it in unnamed temporary files."""

import ctypes
import logging
import mmap
import os
import sys
import tempfile
import weakref
from contextlib import suppress

import numpy as np
import psutil

from onnxshallow.errors import DataError

__all__ = [
    "ActivationStore",
    "default_memory",
    "memory_in_use",
    "most_memory_held",
    "return_freed_memory",
    "spill_folder",
]

logger = logging.getLogger(__name__)


def default_memory() -> int:
    """Half of the memory that is free, in bytes."""
    return psutil.virtual_memory().available // 2


def memory_in_use() -> int:
    """Bytes that this process holds."""
    return psutil.Process().memory_info().rss


def most_memory_held() -> int | None:
    """The most bytes that this process has held since it began; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return getattr(psutil.Process().memory_info(), "peak_wset", None)  # Windows
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def return_freed_memory() -> None:
    """Let the allocator give large blocks back to the system as soon as they are freed, where it is glibc's.

    By default it learns from blocks of up to 32 MiB, such as batches of activations, to keep them on its heap, where
    small ones hold them in place: several times what is in use.
    """
    m_mmap_threshold = -3  # malloc.h
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 4 << 20)


def spill_folder() -> str:
    """Where temporary files go: `$TMPDIR` and its like, else /var/tmp, since /tmp may itself lie in memory."""
    chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return tempfile.gettempdir() if chosen or not os.access("/var/tmp", os.W_OK) else "/var/tmp"


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
        self._mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def __reduce__(self) -> tuple[type["ActivationStore"], tuple[int]]:
        """What another process gets: an empty store of the same budget."""
        return ActivationStore, (self.budget,)

    def hold(self, array: np.ndarray) -> np.ndarray:
        """Store `array`; the result holds the same values and must not be written to.

        Raises:
            DataError: the disk is full.
        """
        if not isinstance(array, np.ndarray):  # a sequence or a map, which onnxruntime gives as Python objects
            return array
        if self.used + array.nbytes <= self.budget or array.nbytes == 0 or array.dtype.hasobject:
            self.used += array.nbytes
            weakref.finalize(array, self._release, array.nbytes)
            return array
        if not self.spilled:
            logger.info("The memory budget of %d MiB is used up; spilling activations to disk.", self.budget >> 20)
        self.spilled += array.nbytes
        return self._spill(array)

    def _spill(self, array: np.ndarray) -> np.ndarray:
        folder = spill_folder()
        try:
            with tempfile.TemporaryFile(prefix="onnxshallow-", dir=folder) as stream:
                # Written, not mapped: a full disk is an error of `write`, and kills who writes to a mapping.
                stream.write(np.ascontiguousarray(array).data)
                stream.flush()
                mapped = mmap.mmap(stream.fileno(), array.nbytes, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DataError(
                f"Activations do not fit into the memory budget, and {folder} cannot take them: "
                f"{error.strerror or error}. Let TMPDIR name a folder with more space, give more --memory, or use "
                "fewer --calib-samples."
            ) from error
        self._mapped.add(mapped)
        return np.frombuffer(mapped, dtype=array.dtype).reshape(array.shape)

    def rest(self) -> None:
        """Let go of the memory in which parts of spilled arrays were read; they are read again when needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in list(self._mapped):
                mapped.madvise(mmap.MADV_DONTNEED)

    def _release(self, size: int) -> None:
        self.used -= size
