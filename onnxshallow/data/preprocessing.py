"""From stored uint8 images to what the network was trained on.

The steps, in the order of torchvision's evaluation transforms: resize the shorter side (bilinear or bicubic, with
antialiasing, as Pillow does it), crop the centre, put the channels in the order of the network, divide by `scale`,
subtract `mean`, divide by `std`. Float data never passes through here: it counts as already preprocessed.
"""

import logging
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnxshallow.data.preprocessor import read_preprocessor
from onnxshallow.errors import DataError, UsageError
from onnxshallow.options.presets import PRESETS
from onnxshallow.options.schema import Config

__all__ = ["RESIZED", "RESIZING_OPTIONS", "Preprocessing"]

logger = logging.getLogger(__name__)

RESIZED = "after resize and crop"
"""What messages say of the size that an image has in the end."""
RESIZING_OPTIONS = "--resize and --crop"
"""The options that decide about it."""


@dataclass(frozen=True)
class Preprocessing:
    """How uint8 images become the network's input.

    Attributes:
        mean: subtracted per channel after scaling; one value, or one a channel in the network's channel
            order.
        std: divided by per channel after that; likewise.
        scale: what pixels are divided by first, 255 for values from 0 to 1.
        layout: axis order of stored uint8 arrays; None infers it from their shape.
        resize: length in pixels that the shorter side is scaled to; or height and width, whatever that does to the
            proportions.
        crop: side in pixels of the centre square that is kept.
        channels: the channel order that the network expects; stored images are RGB.
        interpolation: how images are scaled.

    Raises:
        UsageError: a value that cannot work, such as a std of zero or mean and std of different lengths.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float = 255.0
    layout: Literal["nchw", "nhwc"] | None = None
    resize: int | tuple[int, int] | None = None
    crop: int | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"--scale {self.scale} must be a positive number; 255 brings bytes to 0..1.")
        if self.mean is not None and not (self.mean and all(map(math.isfinite, self.mean))):
            raise UsageError(f"--mean {self.mean} must be one finite number, or one a channel; correct it.")
        if self.std is not None and not (self.std and all(math.isfinite(value) and value > 0 for value in self.std)):
            raise UsageError(f"--std {self.std} must be one positive number, or one a channel; correct it.")
        lengths = {len(values) for values in (self.mean, self.std) if values is not None and len(values) > 1}
        if len(lengths) > 1:
            raise UsageError(
                f"--mean {self.mean} and --std {self.std} have different numbers of channels; give as many of each."
            )

    @classmethod
    def from_preset(cls, name: str | None, **given: Any) -> "Preprocessing":
        """Builds a preprocessing from a preset's values, overridden by what is given.

        Args:
            name: a key of `PRESETS`, or None for the defaults.
            **given: attributes of the class; None means not given. Explicit `mean` and `std` are in the
                network's channel order; a preset's are reversed for channels "bgr".

        Raises:
            UsageError: no such preset, or values that cannot work.
        """
        if name is not None and name not in PRESETS:
            raise UsageError(f"There is no preset {name!r}; the presets are {', '.join(PRESETS)}.")
        values = dict(PRESETS[name]) if name is not None else {}
        if given.get("channels") == "bgr":
            values.update({key: values[key][::-1] for key in ("mean", "std") if key in values})
        values.update({key: value for key, value in given.items() if value is not None})
        return cls(**values)

    @classmethod
    def from_config(cls, config: Config) -> "Preprocessing":
        """What the options say about uint8 images, and the file that `preprocessor` names of what they leave out.

        Raises:
            UsageError: mean, std and scale cannot work together, or the file cannot be used.
        """
        given = {field.name: getattr(config, field.name) for field in fields(cls)}
        if config.preprocessor is None:
            return cls.from_preset(config.preset, **given)
        if config.preset is not None:
            raise UsageError("--preset and --preprocessor both say how images are preprocessed; leave one out.")
        chosen = {name: value for name, value in given.items() if name in config.model_fields_set}
        return cls.from_preset(None, **{**read_preprocessor(config.preprocessor), **chosen})

    @property
    def resizes(self) -> bool:
        """Whether images get another size."""
        return self.resize is not None or self.crop is not None

    def without_resizing(self) -> "Preprocessing":
        """The same for images that have the network's size."""
        return replace(self, resize=None, crop=None)

    def check_values(self, where: str, dtype: np.dtype) -> None:
        """Check what becomes of pixels, and say that they become values from 0 to 1 where no option says so.

        Args:
            where: the images come from.
            dtype: element type of the input; integers are given to the network as they are.

        Raises:
            UsageError: an option would change the values of integers.
            DataError: pixels are no values of the type.
        """
        if dtype.kind in "iub":
            self.check_whole_numbers(where, dtype)
            if dtype in (np.int8, np.bool_):
                raise DataError(
                    f"{where}: pixels from 0 to 255 do not fit into {dtype}, which the network takes; give arrays of "
                    f"{dtype} as it was trained on."
                )
            return
        if not self.normalizing_options:
            logger.warning(
                "%s: pixels are divided by 255, and that is all; if the network was trained on standardized images, "
                "give --preset or --mean and --std (--mean 0 --std 1 if not)",
                where,
            )

    def check_whole_numbers(self, where: str, dtype: np.dtype) -> None:
        """Check that nothing is to be done to pixels of a network that takes whole numbers.

        Args:
            where: the images come from.
            dtype: element type of the input.

        Raises:
            UsageError: an option would change them.
        """
        if named := self.normalizing_options:
            raise UsageError(
                f"{' and '.join(named)} cannot be followed: the network takes {dtype} images and normalizes them "
                f"by itself, so pixels of {where} are given to it as they are; leave the options out."
            )

    @property
    def normalizing_options(self) -> list[str]:
        """The options that change the values of pixels, as far as they are given."""
        given = {"--mean": self.mean, "--std": self.std, "--scale": None if self.scale == 255 else self.scale}
        return [option for option, value in given.items() if value is not None]

    def check_channels(self, channels: int) -> None:
        """Checks that mean and std fit images of so many channels.

        Raises:
            UsageError: they do not.
        """
        for option, values in (("--mean", self.mean), ("--std", self.std)):
            if values is not None and len(values) not in (1, channels):
                raise UsageError(
                    f"{option} has {len(values)} values, but the network's images have {channels} channels; "
                    "give one value, or one a channel."
                )

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) in pixels that an image has after the resize and before the crop."""
        if self.resize is None:
            return height, width
        if isinstance(self.resize, tuple):
            return self.resize
        if height <= width:
            return self.resize, max(1, self.resize * width // height)
        return max(1, self.resize * height // width), self.resize

    def final_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) in pixels that an image has after resize and crop.

        Raises:
            DataError: the crop is larger than the image; the caller puts the image's name before the message.
        """
        height, width = self.resized_size(height, width)
        if self.crop is None:
            return height, width
        if self.crop > min(height, width):
            raise DataError(
                f"a crop of {self.crop} does not fit into {height}x{width} pixels; "
                f"resize first, with --resize {self.crop} or more."
            )
        return self.crop, self.crop

    def resized(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resizes and crops one (H, W, C) uint8 image to its `final_size`; raises as that does."""
        height, width = self.resized_size(*pixels.shape[:2])
        rows, columns = self.final_size(*pixels.shape[:2])
        if (height, width) != pixels.shape[:2]:
            pixels = _resize(pixels, height, width, self.interpolation)
        top, left = round((height - rows) / 2), round((width - columns) / 2)
        return pixels[top : top + rows, left : left + columns]

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scales and standardizes pixels whose channels, on the last axis, are in the network's order."""
        values = pixels.astype(np.float32)
        values /= np.float32(self.scale)
        if self.mean is not None:
            values -= np.asarray(self.mean, dtype=np.float32)
        if self.std is not None:
            values /= np.asarray(self.std, dtype=np.float32)
        return values


def _resize(pixels: NDArray[np.uint8], height: int, width: int, interpolation: str) -> NDArray[np.uint8]:
    """Resize of (H, W, C), a channel at a time since Pillow knows only 1, 3 and 4 channels."""
    from PIL import Image

    method = Image.Resampling[interpolation.upper()]
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((width, height), method))
        for plane in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack(planes, axis=-1)
