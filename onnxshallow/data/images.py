"""What an image input of the network wants, and how stored images are brought to it."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.preprocessing import RESIZED, RESIZING_OPTIONS, Preprocessing
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo

__all__ = ["IMAGE_CHANNELS", "ImageInput", "channels_last", "decode_image", "describe_shape"]

logger = logging.getLogger(__name__)

IMAGE_CHANNELS = (1, 3)
"""The channel counts of ordinary images: grey and colour."""


@dataclass(frozen=True)
class ImageInput:
    """A network input of rank 4, read as a batch of images.

    Attributes:
        tensor: the input itself.
        channels: number of channels, None where the model leaves it open.
        height: pixels, None where open.
        width: pixels, None where open.
        channels_last: True for (N, H, W, C), as TensorFlow exports have it.
    """

    tensor: TensorInfo
    channels: int | None
    height: int | None
    width: int | None
    channels_last: bool

    @classmethod
    def from_tensor(cls, tensor: TensorInfo) -> "ImageInput | None":
        """Reads a rank-4 input as images; None for any other rank."""
        if tensor.shape is None or len(tensor.shape) != 4:
            return None
        first, second, third = (size if isinstance(size, int) else None for size in tensor.shape[1:])
        if third in IMAGE_CHANNELS and first not in IMAGE_CHANNELS:
            return cls(tensor, channels=third, height=first, width=second, channels_last=True)
        return cls(tensor, channels=first, height=second, width=third, channels_last=False)

    @property
    def is_line(self) -> bool:
        """Whether it is one row or one column of pixels, as of audio or the state of a recurrent network."""
        return 1 in (self.height, self.width)

    @property
    def dtype(self) -> np.dtype:
        """Element type of the input, float32 where unknown."""
        return self.tensor.dtype if self.tensor.dtype is not None else np.dtype(np.float32)

    def check_size(self, height: int, width: int, preprocessing: Preprocessing, where: str) -> None:
        """Checks that images of this size can be fed.

        Args:
            height: pixels of the stored image.
            width: likewise.
            preprocessing: what resizes it.
            where: file or array, for messages.

        Raises:
            DataError: they cannot.
        """
        try:
            size = preprocessing.final_size(height, width)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if self.height not in (None, size[0]) or self.width not in (None, size[1]):
            raise DataError(
                f"{where} has {height}x{width} pixels, {size[0]}x{size[1]} {RESIZED}, but "
                f"input {self.tensor.name!r} wants {describe_shape(self.tensor)}; set {RESIZING_OPTIONS} to its size."
            )

    def feed(self, pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.generic]:
        """Turns pixels of the right size into the network's input.

        An integer input takes the pixels as they are: such a network holds its own preprocessing. Made-up pixels are
        brought to what int8 and bool hold, as photographs are by those who quantize networks.

        Args:
            pixels: (N, H, W, C) uint8, RGB.
            preprocessing: what floats are made with.

        Returns:
            (N, C, H, W), or (N, H, W, C) where `channels_last`, in the input's element type.
        """
        if preprocessing.channels == "bgr":
            pixels = pixels[..., ::-1]
        values: NDArray[np.generic] = pixels
        if self.dtype.kind not in "iub":
            values = preprocessing.normalize(pixels)
        elif self.dtype == np.int8:
            values = pixels.astype(np.int16) - 128
        elif self.dtype.kind == "b":
            values = pixels > 127
        if not self.channels_last:
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=self.dtype)


def describe_shape(tensor: TensorInfo) -> str:
    """A tensor's shape for messages, its first axis shown as the batch: `(batch, 3, 32, 32)`."""
    if not tensor.shape:
        return "of any shape" if tensor.shape is None else "() (a scalar, which has no batch axis)"
    sizes = ["batch", *("?" if size is None else str(size) for size in tensor.shape[1:])]
    return f"({', '.join(sizes)})"


def channels_last(images: NDArray[np.uint8], image: ImageInput, layout: str | None, where: str) -> NDArray[np.uint8]:
    """Views stored images as (N, H, W, C).

    Args:
        images: (N, H, W), (N, C, H, W) or (N, H, W, C) uint8.
        image: the input they are meant for.
        layout: "nchw" or "nhwc" where the user named it, else None to infer it from the shape.
        where: file and array, for messages.

    Raises:
        DataError: the shape fits no layout, both, or not the one that was named.
    """
    wanted = IMAGE_CHANNELS if image.channels is None else (image.channels,)
    if images.ndim == 3 and 1 in wanted:
        return images[..., np.newaxis]
    fitting = []
    if images.ndim == 4:
        fitting = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if images.shape[axis] in wanted]
    tensor = image.tensor
    problem = f"{where} has shape {images.shape}, but input {tensor.name!r} wants {describe_shape(tensor)}"
    if not fitting:
        raise DataError(
            f"{problem}: no axis has its {' or '.join(map(str, wanted))} channels; bring the images to that."
        )
    if layout is None:
        if len(fitting) > 1:
            raise DataError(f"{problem}: the channel axis is ambiguous; give --layout nchw or --layout nhwc.")
        layout = fitting[0]
        logger.info("%s: shape %s is read as %s", where, images.shape, layout)
    elif layout not in fitting:
        raise DataError(f"{problem}: that is not {layout}; give --layout {fitting[0]}.")
    return images if layout == "nhwc" else images.transpose(0, 2, 3, 1)


def decode_image(path: Path, channels: int) -> NDArray[np.uint8]:
    """Decodes an image file.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB.

    Returns:
        (H, W, C) uint8.

    Raises:
        DataError: the file is no image, is broken, is absurdly large, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            deep = image.mode.startswith(("I", "F"))
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except Exception as error:  # Pillow's decoders let out whatever a broken file makes them trip over.
        raise DataError(f"{path}: cannot be read as an image ({error}); remove or replace it.") from error
    if deep:
        raise DataError(f"{path}: has more than 8 bits a channel; convert it to 8 bits.")
    return pixels.reshape(*pixels.shape[:2], channels)
