"""Labels of a flat folder of images, from a file in it or beside it, as ImageNet's validation images have them.

    val/labels.txt, val/labels.csv, val.txt, val.csv     are looked for, in this order, for the folder val/

A line is `NAME LABEL`, set apart by a space, a tab or a comma, as in `ILSVRC2012_val_00000001.JPEG 65`; what follows
is passed over. Or it is a label alone, one for each image in the order of their names. Labels are numbers from 0, or
names such as `n01440764`, which are counted in their order.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxshallow.errors import DataError

__all__ = ["labels_beside"]

logger = logging.getLogger(__name__)

_SEPARATOR = re.compile(r"[,;\s]+")
_NUMBER = re.compile(r"-?[0-9]+")


def labels_beside(folder: Path, files: Sequence[Path]) -> tuple[NDArray[np.int64], tuple[str, ...] | None] | None:
    """The labels (N,) of images and the names of the classes, where there are such; None without a file of labels.

    Args:
        folder: that holds the images.
        files: the images, in the order of their names.

    Raises:
        DataError: the file cannot be read, or lacks an image.
    """
    beside = folder.resolve()
    places = [folder / "labels.txt", folder / "labels.csv", *(Path(f"{beside}{end}") for end in (".txt", ".csv"))]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as labels of {folder} ({error}); correct or remove it.") from error
    rows = [_SEPARATOR.split(line.strip()) for line in lines if line.strip() and not line.startswith("#")]
    words = _in_order(rows, files, path) if rows and len(rows[0]) == 1 else _by_name(rows, folder, files, path)
    logger.info("labels of %s are read from %s", folder, path)
    if all(map(_NUMBER.fullmatch, words)):
        return np.array(words, dtype=np.int64), None
    names = sorted(set(words))
    return np.searchsorted(np.array(names), words).astype(np.int64), tuple(names)


def _in_order(rows: Sequence[Sequence[str]], files: Sequence[Path], path: Path) -> list[str]:
    """The label of each image, from lines without names."""
    if len(rows) != len(files):
        raise DataError(f"{path}: {len(rows)} labels for {len(files)} images; give one for each, or name the images.")
    return [row[0] for row in rows]


def _by_name(rows: Sequence[Sequence[str]], folder: Path, files: Sequence[Path], path: Path) -> list[str]:
    """The label of each image, from lines that name them, with their suffix or without."""
    known = {row[0]: row[1] for row in rows if len(row) > 1}
    found = []
    for file in files:
        spellings = (file.relative_to(folder).as_posix(), file.name, file.stem)
        label = next((known[name] for name in spellings if name in known), None)
        if label is None:
            raise DataError(f"{path}: has no label for {file.name}; add it, or remove the image.")
        found.append(label)
    return found
