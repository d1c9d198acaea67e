"""Files that are written whole or not at all, whatever ends the process, and the folder of those that may go."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from onnxshallow.errors import ModelError

try:
    import fcntl
except ImportError:  # Windows, where no open file can be removed, so that no lock is needed to tell who uses it
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "atomic_path",
    "cache_folder",
    "file_digest",
    "is_replaceable",
    "locked",
    "require_writable",
    "same_file",
    "temporary_beside",
    "write_text",
]


def cache_folder() -> Path:
    """Where caches are kept: `$ONNXSHALLOW_CACHE`, else `onnxshallow` in the user's cache folder."""
    if chosen := os.environ.get("ONNXSHALLOW_CACHE"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):  # on every system
        return Path(base) / "onnxshallow"
    return user_cache_path("onnxshallow", appauthor=False)


def write_text(text: str, path: str | os.PathLike[str]) -> None:
    """Write a text file in one go.

    Raises:
        ModelError: the folder cannot be written to.
    """
    try:
        with atomic_path(Path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error


def file_digest(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_replaceable(path: str | os.PathLike[str]) -> bool:
    """Whether a new file may take the place of `path`: nothing is there, or a plain file, but no device or pipe."""
    return os.path.isfile(path) or not os.path.exists(path)


def same_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file, links followed; also where it does not exist yet."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def require_writable(path: Path) -> None:
    """Make sure that `path` can be written, before the work that it is to hold.

    Raises:
        ModelError: its folder does not let a file be made.
    """
    try:
        with temporary_beside(path):
            pass
    except OSError as error:
        raise ModelError(
            f"Cannot write {path}: {error.strerror or error}; choose a folder that can be written to."
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which becomes `path` when the block ends well and is removed otherwise.

    Yields:
        The temporary file's path; the file exists and is empty.

    Raises:
        OSError: the folder does not exist or cannot be written to, or `path` is no plain file.
    """
    if not is_replaceable(path):
        raise OSError(errno.EINVAL, "it is no plain file")
    with temporary_beside(path) as temporary:
        yield temporary
        with open(temporary, "r+b") as stream:  # Windows syncs only what is open for writing
            os.fsync(stream.fileno())
        os.replace(temporary, path)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A file beside `path` that is gone when the block ends, unless the block has renamed it.

    A process that is killed inside the block leaves its file behind. Such files are known by the lock that nobody
    holds on them any more, and the next call for the same `path` removes them.

    Yields:
        The temporary file's path; the file exists and is empty.

    Raises:
        OSError: the folder does not exist or cannot be written to.
    """
    _remove_abandoned(path)
    handle, name = _locked_file(path)
    try:
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
        if handle is not None:
            os.close(handle)


def _locked_file(path: Path) -> tuple[int | None, str]:
    """A new file and the handle that holds its lock."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        mask = os.umask(0)
        os.umask(mask)
        if fcntl is None:
            os.close(handle)
            os.chmod(name, 0o666 & ~mask)
            return None, name
        os.fchmod(handle, 0o666 & ~mask)
        with suppress(OSError):  # some network file systems know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # taken for abandoned between its making and its locking


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files for `path` whose process is gone."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")
    for entry in os.listdir(path.parent):
        if ours.fullmatch(entry):
            with suppress(OSError), open(path.parent / entry, "rb") as stream:
                if fcntl is not None:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path.parent / entry)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time write files that belong together into `folder`; leaves nothing behind."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
