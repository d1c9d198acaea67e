"""A first SIGINT that ends training early and well; the second ends the process as ever."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Interrupt", "interruptible"]


@dataclass
class Interrupt:
    """Whether somebody asked to stop.

    Attributes:
        asked: so.
    """

    asked: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Note a SIGINT in the block in place of raising KeyboardInterrupt; in the main thread, which alone gets it."""
    found = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        found.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)
