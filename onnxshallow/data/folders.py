"""Folders of images: one subfolder a class, or flat, perhaps with a file of labels."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onnxshallow.data.columns import FileColumn
from onnxshallow.data.images import IMAGE_CHANNELS, ImageInput, describe_shape
from onnxshallow.data.label_files import labels_beside
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

__all__ = ["samples_from_folder"]

logger = logging.getLogger(__name__)

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


# Folders that divide a data set.
_PART = re.compile(r"images?|jpegimages|(train|val|validation|test|unlabeled)(20\d\d)?", re.IGNORECASE)


def samples_from_folder(folder: Path, inputs: Sequence[TensorInfo], preprocessing: Preprocessing) -> Samples:
    """Makes samples of the image files in a folder; they are decoded when a batch is asked for.

    Each subfolder that holds images is a class, its label the position of its name among the sorted names of these.
    A folder with images and no subfolders has the labels of a file in it or beside it
    (`onnxshallow.data.label_files`), if there is one. Subfolders that only divide a data set, such as `images` or
    COCO's `train2017` and `val2017`, are no classes, and their images have no labels.

    Raises:
        DataError: the network does not take one batch of grey or colour images, the folder holds no images,
            or the first of them cannot be read or has the wrong size.
    """
    image = ImageInput.from_tensor(inputs[0]) if len(inputs) == 1 else None
    if image is None or image.channels not in (*IMAGE_CHANNELS, None):
        wanted = ", ".join(f"{tensor.name!r} {describe_shape(tensor)}" for tensor in inputs)
        raise DataError(
            f"{folder}: a folder of images needs a network with one image input of 1 or 3 channels, "
            f"this one wants {wanted}; give an .npz instead."
        )
    preprocessing.check_channels(image.channels or 3)
    preprocessing.check_values(str(folder), image.dtype)
    loose = [path for path in _visible(folder) if _is_image(path)]
    found = {path.name: _images_within(path) for path in _visible(folder) if path.is_dir()}
    classes = {name: images for name, images in found.items() if images}
    if classes and all(_PART.fullmatch(name) for name in classes):
        logger.warning("%s: %s are read as parts of a data set, and not as classes", folder, ", ".join(classes))
        loose, classes = sorted([*loose, *(path for images in classes.values() for path in images)]), {}
    if classes and len(classes) < len(found):
        empty = ", ".join(name for name in found if name not in classes)
        logger.warning("%s: folders without images are no classes: %s", folder, empty)
    labelled = [(path, label) for label, images in enumerate(classes.values()) for path in images]
    if labelled and loose:
        logger.warning("%s: %d images outside the class folders are left out", folder, len(loose))
    files = tuple(path for path, _ in labelled) or tuple(loose)
    if not files:
        raise DataError(
            f"{folder}: holds no images ({', '.join(sorted(SUFFIXES))}), neither loose nor in subfolders; "
            "check the path."
        )
    column = FileColumn(files, image, preprocessing)
    column.read(np.zeros(1, dtype=np.intp))  # so that a wrong size shows now and not minutes later
    labels, names = (
        (np.array([label for _, label in labelled], dtype=np.int64), tuple(classes))
        if labelled
        else (labels_beside(folder, files) or (None, None))
    )
    return Samples({inputs[0].name: column}, source=str(folder), labels=labels, class_names=names)


def _visible(folder: Path) -> list[Path]:
    """What is meant to be there: not hidden, and not what macOS adds to its archives."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")


def _images_within(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
