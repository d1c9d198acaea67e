"""Damages and other measurements on disk, so that a further run with the same inputs needs no sweep.

So does a run after an interruption, for what was measured before it.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from onnxshallow.model.files import cache_folder
from onnxshallow.versions import code_digest

__all__ = ["MOST_BYTES", "SweepCache", "cache_files", "cache_path"]

logger = logging.getLogger(__name__)

MOST_BYTES = 256 << 20
"""Beyond this the files of a cache that were not used for longest are removed."""


def cache_path(cache: Path | bool | None) -> Path | None:
    """Where damages are kept: True for the user's folder, False or None for nowhere."""
    if cache is True:
        return cache_folder()
    return None if cache is False or cache is None else cache


def cache_files(folder: Path) -> list[Path]:
    """The files of a cache; none where there is no such folder."""
    return list(folder.glob("*.jsonl"))


class SweepCache:
    """Damages by candidate key, in one file for everything that they depend on, the code that measures among it.

    Each new value is appended at once as one line, so an interrupted sweep goes on where it stopped. A folder that
    cannot be written to only costs the cache, never the run.

    Args:
        identity: whatever the damages depend on, as JSON values; its digest is the file's name.
        folder: where the file is; None keeps the values in memory only.
        name: what the file's name begins with.
    """

    def __init__(self, identity: Mapping[str, object], folder: Path | None, name: str = "sweep") -> None:
        known = json.dumps([identity, code_digest()], sort_keys=True)
        digest = hashlib.sha256(known.encode()).hexdigest()
        self._path = None if folder is None else folder / f"{name}-{digest[:32]}.jsonl"
        self._values: dict[str, float] = {}
        self._line_open = False
        if self._path is not None:
            text = _read(self._path)
            self._values = _parse(text)
            self._line_open = not text.endswith("\n") and bool(text)
            _evict(self._path)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> float:
        return self._values[key]

    def __setitem__(self, key: str, value: float) -> None:
        self._values[key] = value
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write("\n" * self._line_open + json.dumps([key, value]) + "\n")
                self._line_open = False
        except OSError as error:
            logger.warning("The cache of measurements cannot be written (%s); going on without it.", error)
            self._path = None


def _evict(used: Path) -> None:
    """Mark a file as used, and remove others that were not used for longest, where all are too large together.

    A run that still writes to one of these loses what is in it, and measures that anew some time.
    """
    with suppress(OSError):
        os.utime(used)
    room = MOST_BYTES - sum(size for _, size, _ in _aged([used]))
    for _, size, path in sorted(_aged(set(cache_files(used.parent)) - {used}), reverse=True):
        room -= size
        if room < 0:
            with suppress(OSError):  # another run is removing it, or has it open on Windows
                path.unlink()


def _aged(paths: Iterable[Path]) -> list[tuple[float, int, Path]]:
    """When each was used last, and its bytes; files that are gone by now are left out."""
    found = []
    for path in paths:
        with suppress(OSError):
            state = path.stat()
            found.append((state.st_mtime, state.st_size, path))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _parse(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for line in text.splitlines():
        try:
            key, value = json.loads(line)
            values[str(key)] = float(value)
        except (ValueError, TypeError):  # the last line of an interrupted run
            continue
    return values
