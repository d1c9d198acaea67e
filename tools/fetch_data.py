"""Fetch CIFAR-10 or CIFAR-100 and write `train.npz` and `validation.npz`, with a checksum for what was fetched.

    python tools/fetch_data.py cifar10 FOLDER
    python tools/fetch_data.py cifar100 FOLDER --url file:///mirror/cifar-100-binary.tar.gz

Each file holds `x`, (N, 32, 32, 3) uint8 RGB, and the classes `y`, (N,) int64: the 50 000 images of the official
training set, and the 10 000 of the test set. That is what `--calib`, `--validate` and `tools/train_zoo.py` read.

The archives in the *binary* form are used: rows of bytes. Those in the Python form are pickles, which can run code. A
download that broke off is taken up where it stopped; a file is written whole or not at all. Needs the network and
onnxshallow.
"""

import argparse
import hashlib
import http.client
import sys
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxshallow.model.files import atomic_path

__all__ = ["SETS", "FetchError", "ImageSet", "main"]

_SITE = "https://www.cs.toronto.edu/~kriz"
_PIXELS = 3 * 32 * 32
_SECONDS = 60  # without an answer
_BLOCK = 1 << 20


class FetchError(Exception):
    """The images cannot be had; the message is a sentence that says why and what to do."""


@dataclass(frozen=True)
class ImageSet:
    """A data set as its authors publish it.

    Attributes:
        url: of the binary archive.
        md5: of the archive, in hexadecimal, as the authors give it.
        train: members with the training images, each a file of rows.
        validation: members with the test images.
        label: position of the class in a row; CIFAR-100 has a coarse class before it.
        rows: training images and test images.
        classes: how many there are.
    """

    url: str
    md5: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    label: int
    rows: tuple[int, int] = (50_000, 10_000)
    classes: int = 10


SETS = {
    "cifar10": ImageSet(
        f"{_SITE}/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6)),
        ("cifar-10-batches-bin/test_batch.bin",),
        label=0,
    ),
    "cifar100": ImageSet(
        f"{_SITE}/cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        ("cifar-100-binary/train.bin",),
        ("cifar-100-binary/test.bin",),
        label=1,
        classes=100,
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Fetch, check and convert one set; returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch CIFAR-10 or CIFAR-100 as train.npz and validation.npz.")
    parser.add_argument("name", choices=sorted(SETS))
    parser.add_argument("folder", type=Path, help="where the two files go; the archive is kept there as well")
    parser.add_argument("--url", help="another place of the same archive, such as file:///mirror/archive.tar.gz")
    options = parser.parse_args(arguments)
    wanted = SETS[options.name]
    try:
        archive = _fetched(options.url or wanted.url, wanted, options.folder)
        for part, members, rows in (
            ("train", wanted.train, wanted.rows[0]),
            ("validation", wanted.validation, wanted.rows[1]),
        ):
            images, classes = _read(archive, members, rows, wanted)
            _save(options.folder / f"{part}.npz", images, classes)
            print(f"{options.folder / part}.npz: {len(images)} images")
    except (FetchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


def _fetched(url: str, wanted: ImageSet, folder: Path) -> Path:
    """The archive in the folder, downloaded unless it is there, with the right checksum.

    Raises:
        FetchError: it cannot be downloaded, or is another file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, md5 = folder / wanted.url.rsplit("/", 1)[-1], wanted.md5
    if target.is_file() and _digest(target) == md5:
        return target
    partial = target.with_name(target.name + ".partial")
    _download(url, partial)
    found = _digest(partial)
    if found != md5:
        partial.unlink()
        raise FetchError(
            f"{url} has the MD5 checksum {found}, not {md5}; it was removed. Try again, or another --url."
        )
    partial.replace(target)
    return target


def _download(url: str, partial: Path) -> None:
    """Append to `partial` what is missing of it, as far as the server lets one begin in the middle."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            missing = int(answer.headers.get("Content-Length", 0))
            # 206 is "partial content"; anything else begins at the beginning.
            mode = "ab" if getattr(answer, "status", None) == 206 else "wb"
            with partial.open(mode) as stream:
                while block := answer.read(_BLOCK):
                    missing -= stream.write(block)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies beyond what is there
            return
        raise FetchError(f"{url} cannot be fetched: {error}. Try again later, or another --url.") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{url} cannot be fetched: {reason}. On a machine without internet, fetch it elsewhere and give "
            "--url file:///FOLDER/ARCHIVE."
        ) from error
    if missing > 0:
        raise FetchError(f"{url} broke off {missing} bytes before its end; run this again to go on from there.")


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _read(
    archive: Path, members: tuple[str, ...], rows: int, wanted: ImageSet
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 32, 32, 3) and classes (N,) of some members, which are read and never extracted.

    Raises:
        FetchError: a member is missing, is no plain file, or is not what it should be.
    """
    width = wanted.label + 1 + _PIXELS
    parts = []
    try:
        with tarfile.open(archive) as tar:
            for name in members:
                member = tar.getmember(name)
                if not member.isreg() or member.size != rows // len(members) * width:
                    raise FetchError(f"{archive}: {name} is no file of {rows // len(members)} images.")
                stream = tar.extractfile(member)
                assert stream is not None, "it is a plain file"
                parts.append(np.frombuffer(stream.read(), np.uint8).reshape(-1, width))
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise FetchError(f"{archive} cannot be read: {error}. Remove it and try again.") from error
    table = np.concatenate(parts)
    classes = table[:, wanted.label].astype(np.int64)
    if classes.max() >= wanted.classes:
        raise FetchError(f"{archive}: a class of {classes.max()} is above {wanted.classes - 1}.")
    # A row is the red plane, then the green and the blue one.
    images = table[:, wanted.label + 1 :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), classes


def _save(path: Path, images: NDArray[np.uint8], classes: NDArray[np.int64]) -> None:
    """Write a file of images whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, x=images, y=classes)


if __name__ == "__main__":
    sys.exit(main())
