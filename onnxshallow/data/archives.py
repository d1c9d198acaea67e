"""Reading `.npz` files that nobody vouches for: no pickles, and no more memory than the headers admit to."""

import math
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from onnxshallow.errors import DataError
from onnxshallow.text import printable

__all__ = ["MAX_BYTES", "read_archive"]

MAX_BYTES = 16 * 2**30
"""The most bytes that one source may hold, uncompressed, unless the user allows more."""
# Samples do not shrink to a hundredth: a file that does, and unpacks to more than this, is meant to fill the memory.
_MAX_RATIO, _HARMLESS = 100, 512 << 20


def read_archive(path: Path, max_bytes: int | None = None) -> dict[str, NDArray[np.generic]]:
    """Reads all arrays of an `.npz`.

    The headers are read and added up before any data is, so a small file that unpacks to a huge one is refused:
    one that holds more than the limit, or, where no limit is given, a hundred times its own size.

    Args:
        path: the file.
        max_bytes: the most that the arrays may hold; None for `MAX_BYTES`.

    Raises:
        DataError: the file is no `.npz`, is truncated, holds pickled objects, or more than `max_bytes`.
    """
    limit = MAX_BYTES if max_bytes is None else max_bytes
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            sizes = [_announced_bytes(archive, member, path) for member in members]
            if sum(sizes) > limit:
                raise DataError(
                    f"{path}: the arrays hold {_gibibytes(sum(sizes))}, more than the limit of {_gibibytes(limit)}; "
                    "use fewer samples, uint8 images or a folder of images, or raise --max-data if you trust it."
                )
            packed = path.stat().st_size
            if max_bytes is None and sum(sizes) > max(_HARMLESS, _MAX_RATIO * packed):
                raise DataError(
                    f"{path}: {packed} bytes unpack to {_gibibytes(sum(sizes))}, over {_MAX_RATIO} times as many, "
                    "as samples never do; if you trust the file, say with --max-data how much it may hold."
                )
            for member, size in zip(members, sizes, strict=True):
                if size > member.file_size:
                    raise ValueError(f"{member.filename} announces {size} bytes, has {member.file_size}")
            return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}
    except (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: is not a readable .npz file, or is truncated ({_reason(error)}); save it again."
        ) from error


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count < 2**60 else "more than 2^30 GiB"


def _reason(error: Exception) -> str:
    """What a library said, on one line and without advice to trust the file."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("."))


def _announced_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> int:
    """The size of an array by its header, refusing pickled objects."""
    with archive.open(member) as file:
        shape, dtype = _read_header(file)
    if dtype.hasobject:
        raise DataError(
            f"{path}: array {member.filename.removesuffix('.npy')!r} holds pickled objects, which are "
            "refused because loading them can run code; save plain numeric arrays."
        )
    return math.prod(shape) * dtype.itemsize


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except (SyntaxError, TypeError, KeyError, OverflowError, RecursionError, TokenError) as error:
        raise ValueError(f"a header is damaged: {_reason(error)}") from error
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"a header gives the shape {shape}")
    return shape, dtype


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.generic]:
    with archive.open(member) as file:
        array: NDArray[np.generic] = npy.read_array(file, allow_pickle=False)
    return array
