"""Reading `.npz` files that nobody vouches for: no pickles, and no more memory than the headers admit to."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from onnxshallow.errors import DataError

__all__ = ["MAX_BYTES", "read_archive"]

MAX_BYTES = 16 * 2**30
"""The most bytes that one source may hold, uncompressed."""


def read_archive(path: Path) -> dict[str, NDArray[np.generic]]:
    """Reads all arrays of an `.npz`.

    The headers are read and added up before any data is, so a small file that unpacks to a huge one is
    refused.

    Raises:
        DataError: the file is no `.npz`, is truncated, holds pickled objects, or more than `MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            sizes = [_announced_bytes(archive, member, path) for member in members]
            if sum(sizes) > MAX_BYTES:
                raise DataError(
                    f"{path}: the arrays hold {sum(sizes) / 2**30:.1f} GiB, more than the limit of "
                    f"{MAX_BYTES / 2**30:.1f} GiB; use fewer samples, uint8 images or a folder of images."
                )
            for member, size in zip(members, sizes, strict=True):
                if size > member.file_size:
                    raise ValueError(f"{member.filename} announces {size} bytes, has {member.file_size}")
            return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is not a readable .npz file, or is truncated ({error}).") from error


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
    shape, _, dtype = read(file)
    return shape, dtype


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.generic]:
    with archive.open(member) as file:
        array: NDArray[np.generic] = npy.read_array(file, allow_pickle=False)
    return array
