"""Threads that change how fast results come, and not what they are.

A BLAS cuts its sums to the number of its threads, so each number of them rounds in its own way. Here every product is
left to one thread, work is cut into the same parts however many threads there are, and what the parts give is summed
in their order.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from onnxshallow.model.session import usable_cores

__all__ = ["computing", "in_order"]

Item = TypeVar("Item")
Value = TypeVar("Value")

# Results that wait to be summed may take so much memory.
_MOST_BYTES = 512 << 20
_threads: ContextVar[int] = ContextVar("threads", default=1)


@contextmanager
def computing(threads: int | None) -> Iterator[None]:
    """Compute with this many threads in the block, one BLAS thread in each; None or 0 for as many as usable cores."""
    token = _threads.set(threads or usable_cores())
    try:
        with _blas().limit(limits=1):
            yield
    finally:
        _threads.reset(token)


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  loads the libraries that are looked for
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def in_order(work: Callable[[Item], Value], items: Sequence[Item], bytes_each: int = 0) -> Iterator[Value]:
    """What `work` makes of each item, in their order, computed by the threads of the block `computing`.

    Args:
        work: called with one item; must not depend on the others.
        items: what to work on.
        bytes_each: size of one result; fewer threads work at a time where results are large.
    """
    threads = max(1, min(_threads.get(), len(items), _MOST_BYTES // max(bytes_each, 1)))
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(items), threads):
            yield from pool.map(work, items[start : start + threads])
