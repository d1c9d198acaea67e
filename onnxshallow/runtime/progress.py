"""How work that takes long shows that it goes on, and how long its stages took."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

__all__ = ["Clock", "Progress", "Silent", "Step", "counted"]

Item = TypeVar("Item")

Step = Callable[[], None]
"""Called once for each unit of work that is done, for progress bars."""


class Progress(Protocol):
    """Shows the progress of stages, one after the other."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Step]:
        """Begin a stage of `total` steps; the step function is called after each."""

    def note(self, text: str) -> None:
        """Say something while a stage goes on."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        """Begin a stage."""
        yield lambda: None

    def note(self, text: str) -> None:
        """Say nothing."""


def counted(items: Iterable[Item], step: Step) -> Iterator[Item]:
    """Pass `items` on and call `step` after each."""
    for item in items:
        yield item
        step()


@dataclass
class Clock:
    """How long stages took.

    Attributes:
        seconds: by stage.
        begun: how often each was begun.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a stage; stages of one name add up."""
        self.begun[name] += 1
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)
