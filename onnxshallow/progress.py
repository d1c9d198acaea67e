"""How long work tells that it goes on."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeVar

from onnxshallow.fitting.calibration import Step

__all__ = ["Progress", "Silent", "counted"]

Item = TypeVar("Item")


class Progress(Protocol):
    """Shows the progress of stages, one after the other."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Step]:
        """Begin a stage of `total` steps; the step function is called after each."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        """Begin a stage."""
        yield lambda: None


def counted(items: Iterable[Item], step: Step) -> Iterator[Item]:
    """Pass `items` on and call `step` after each."""
    for item in items:
        yield item
        step()
