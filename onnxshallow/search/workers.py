"""Work whose parts do not depend on each other, on this machine's cores or on those of others.

    in this process     one part after the other, the default
    --workers N         so many processes on this machine, of the standard library
    --cluster ADDRESS   a dask cluster that is running (extra `distributed`)

What a part gives is what it gives alone, so the number of workers changes how long it takes and nothing else. What
all parts need, the *context*, is sent once. A part whose worker was lost is done again.

The choice is set once around a run, as that of threads and providers is, which the workers are told.
"""

import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

from onnxshallow.errors import UsageError, WorkersError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.providers import current_providers, running_on
from onnxshallow.model.session import share_cores, usable_cores
from onnxshallow.options.config import Config
from onnxshallow.runtime.store import spill_folder
from onnxshallow.versions import code_digest, versions

__all__ = ["run_all", "worker_count", "working"]

logger = logging.getLogger(__name__)

Context = TypeVar("Context")
Item = TypeVar("Item")
Value = TypeVar("Value")

# How often in a row workers may be lost before anything is done.
_MOST_LOSSES = 3
# Seconds to wait for a cluster to answer.
_PATIENCE = 15


@dataclass(frozen=True)
class _Part:
    """What a worker is asked for.

    Attributes:
        work: a function of a module, of the context and the item.
        item: what to work on.
        threads: to compute with; 0 for all cores that the worker may use.
        providers: of onnxruntime.
        versions: of all that computes, which must be the worker's as well.
    """

    work: Callable[[Any, Any], Any]
    item: Any
    threads: int
    providers: tuple[str, ...]
    versions: dict[str, str]

    def done(self, context: object) -> Any:
        """What comes of it.

        Raises:
            WorkersError: other versions are installed here.
        """
        if (here := _computing()) != self.versions:
            other = next(name for name in {**here, **self.versions} if here.get(name) != self.versions.get(name))
            raise WorkersError(
                f"A worker has {other} {here.get(other)}, and this process {self.versions.get(other)}, so that "
                "results would differ; install the same versions everywhere."
            )
        with computing(self.threads), running_on(self.providers):
            return self.work(context, self.item)


def _computing() -> dict[str, str]:
    """The versions of all that computes; of this package its very code, which may differ within a version."""
    return {**versions(), "the code of onnxshallow": code_digest()}


class _Workers(Protocol):
    """Several workers.

    Attributes:
        count: how many.
        threads: that each computes with; 0 for all cores that it may use.
    """

    count: int
    threads: int

    def results(self, parts: Sequence[_Part], context: object) -> Iterator[Any]:
        """What comes of each part, in their order."""

    def close(self) -> None:
        """Let the workers go."""


_workers: ContextVar[_Workers | None] = ContextVar("workers", default=None)


@contextmanager
def working(config: Config) -> Iterator[None]:
    """Let `run_all` use the workers that the options name in the block.

    Raises:
        UsageError: both kinds are named, or what a cluster needs is not installed.
        WorkersError: the cluster does not answer.
    """
    workers = _chosen(config)
    token = _workers.set(workers)
    try:
        yield
    finally:
        _workers.reset(token)
        if workers is not None:
            workers.close()


def _chosen(config: Config) -> _Workers | None:
    if config.cluster is not None:
        if config.workers is not None:
            raise UsageError("--workers and --cluster are two kinds of workers; give one of them.")
        return _Cluster(config.cluster, config.threads or 0)
    count = config.workers or 1
    return _Processes(count, config.threads or max(1, usable_cores() // count)) if count > 1 else None


def worker_count() -> int:
    """How many parts are worked on at a time."""
    workers = _workers.get()
    return 1 if workers is None else workers.count


def run_all(work: Callable[[Context, Item], Value], context: Context, items: Sequence[Item]) -> Iterator[Value]:
    """What `work` makes of each item, in their order.

    Args:
        work: a function that stands in a module by its name. It must depend on nothing else than what it is given.
        context: what all items need; it can be pickled, as can items and results. It is sent anew where it is not
            the object of the last call, so it must not change.
        items: what to work on.

    Raises:
        WorkersError: workers are lost again and again, or the cluster went away.
    """
    workers = _workers.get()
    if workers is None or len(items) < 2:
        yield from (work(context, item) for item in items)
        return
    known, providers = _computing(), tuple(map(str, current_providers()))
    parts = [_Part(work, item, workers.threads, providers, known) for item in items]
    yield from workers.results(parts, context)


class _Processes:
    """Processes of this machine."""

    def __init__(self, count: int, threads: int) -> None:
        self.count, self.threads = count, threads
        self._pool: ProcessPoolExecutor | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._context: object = None
        self._number = 0

    def results(self, parts: Sequence[_Part], context: object) -> Iterator[Any]:
        """See `_Workers`."""
        path = self._path(context)
        done = losses = 0
        while done < len(parts):
            before = done
            try:
                for value in self._tried(parts[done:], str(path)):
                    done += 1
                    yield value
            except BrokenProcessPool as error:
                self._end()
                losses = losses + 1 if done == before else 1
                if losses > _MOST_LOSSES:
                    raise WorkersError(
                        f"Worker processes were lost {losses} times without anything done. Take fewer --workers or "
                        "less --memory; in a Python script, call this under `if __name__ == '__main__':`."
                    ) from error
                logger.warning("A worker process was lost; what it did is done again.")

    def _path(self, context: object) -> Path:
        """The file that holds a context, which is written where it is not that of the last call."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="onnxshallow-", dir=spill_folder())
        folder = Path(self._folder.name)
        if not self._number or self._context is not context:
            for path in folder.iterdir():
                path.unlink()
            self._context, self._number = context, self._number + 1
            (folder / str(self._number)).write_bytes(pickle.dumps(context, pickle.HIGHEST_PROTOCOL))
        return folder / str(self._number)

    def _tried(self, parts: Sequence[_Part], path: str) -> Iterator[Any]:
        """What comes of each part, in their order, as long as no worker is lost."""
        if self._pool is None:
            spawned = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, spawned, initializer=_begin, initargs=(self.threads,))
        futures: list[Future[Any]] = [self._pool.submit(_from_file, path, part) for part in parts]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """See `_Workers`."""
        self._end()
        if self._folder is not None:
            self._folder.cleanup()

    def _end(self) -> None:
        """End the processes."""
        if self._pool is not None:
            processes = list((self._pool._processes or {}).values())  # Python has no other way to end them at once
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
            for process in processes:
                process.terminate()
                process.join()


def _begin(threads: int) -> None:
    """Let a worker process take its share, end with the one that began it, and leave an interruption to that."""
    share_cores(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _from_file(path: str, part: _Part) -> Any:
    return part.done(_context(path, lambda: Path(path).read_bytes()))


@cache
def _contexts() -> dict[str, object]:
    return {}


def _context(name: str, read: Callable[[], bytes]) -> object:
    """The context of a name, of which the last is kept."""
    known = _contexts()
    if name not in known:
        known.clear()
        known[name] = pickle.loads(read())
    return known[name]


class _Cluster:
    """The workers of a dask cluster."""

    def __init__(self, address: str, threads: int) -> None:
        self._address, self.threads = address, threads
        try:
            distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise UsageError("--cluster needs dask; run: pip install 'onnxshallow[distributed]'.") from error
        try:
            self._client: Any = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise WorkersError(
                f"No dask scheduler answers at {address}; check the address, or start one with `dask scheduler`."
            ) from error
        self._gone: tuple[type[Exception], ...] = (OSError, CancelledError, TimeoutError, *_errors(distributed))
        self.count = max(1, sum(self._client.nthreads().values()))
        self._sent: tuple[object, Any] | None = None

    def results(self, parts: Sequence[_Part], context: object) -> Iterator[Any]:
        """See `_Workers`."""
        try:
            if self._sent is None or self._sent[0] is not context:  # to all of them, as one may be lost
                content = pickle.dumps(context, pickle.HIGHEST_PROTOCOL)
                self._sent = context, self._client.scatter(content, hash=False, broadcast=True)
            shared = self._sent[1]
            futures = [self._client.submit(_from_bytes, shared.key, shared, part, pure=False) for part in parts]
            for future in futures:
                yield future.result()
        except self._gone as error:
            raise WorkersError(
                f"The dask cluster at {self._address} went away ({type(error).__name__}). Run the same command again "
                "when it is there: what was measured is in the cache."
            ) from error

    def close(self) -> None:
        """See `_Workers`."""
        with suppress(*self._gone):
            self._client.close(timeout=_PATIENCE)


def _errors(distributed: Any) -> tuple[type[Exception], ...]:
    """What a cluster that goes away raises, besides errors of the system."""
    names = ("KilledWorker", "NoSchedulerDelegated", "FutureCancelledError", "CommClosedError")
    places = (distributed, distributed.client, distributed.comm)
    found: set[type[Exception]] = {getattr(place, name) for name in names for place in places if hasattr(place, name)}
    return tuple(found)


def _from_bytes(name: str, content: bytes, part: _Part) -> Any:
    return part.done(_context(name, lambda: content))
