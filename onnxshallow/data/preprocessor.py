"""The preprocessing that a network was published with, as a file of Hugging Face or of timm says it.

do_rescale, rescale_factor       scale = 1 / rescale_factor
do_normalize, image_mean, _std   mean, std
do_resize, size, resample        resize, interpolation; a shortest edge, or a height and a width
crop_pct                         the shorter side is scaled to size / crop_pct, and `size` of it is kept
do_center_crop, crop_size        crop
do_flip_channel_order            channels
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxshallow.errors import UsageError

__all__ = ["read_preprocessor"]

# Pillow's numbers for ways to scale.
_RESAMPLING = {2: "bilinear", 3: "bicubic"}
# ConvNeXT's images of this size and larger are not cropped, but scaled to it.
_WHOLE = 384


def read_preprocessor(path: str | Path) -> dict[str, Any]:
    """What a file says of images, as attributes of `Preprocessing`.

    Args:
        path: a `preprocessor_config.json` of Hugging Face's image processors, or a `config.json` of timm.

    Raises:
        UsageError: the file cannot be read, or asks for what is not done here.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise TypeError("it holds no object")
        return _of_timm(content["pretrained_cfg"]) if "pretrained_cfg" in content else _of_hugging_face(content)
    except (OSError, UnicodeDecodeError, RecursionError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise UsageError(
            f"--preprocessor {path}: cannot be used ({type(error).__name__}: {error}); give a "
            "preprocessor_config.json, or --mean, --std, --resize and --crop."
        ) from error


def _of_hugging_face(content: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"scale": 1 / float(content.get("rescale_factor", 1 / 255))}
    if not content.get("do_rescale", True):
        found["scale"] = 1.0
    if content.get("do_normalize", True) and content.get("image_mean") is not None:
        found |= {"mean": _numbers(content["image_mean"]), "std": _numbers(content["image_std"])}
    if content.get("do_resize", True) and content.get("size") is not None:
        found |= _scaled(content["size"], content.get("crop_pct"))
        found["interpolation"] = _interpolation(content.get("resample", 2))
    if content.get("do_center_crop", False) and content.get("crop_size") is not None:
        found["crop"] = _square(content["crop_size"])
    if content.get("do_flip_channel_order", False):
        found["channels"] = "bgr"
    return found


def _scaled(size: Any, crop_pct: float | None) -> dict[str, Any]:
    """How images are scaled, and what of them is kept then."""
    if isinstance(size, Mapping) and "height" in size:
        return {"resize": (int(size["height"]), int(size["width"]))}
    edge = int(size["shortest_edge"] if isinstance(size, Mapping) else size)
    if crop_pct is None:
        return {"resize": edge}
    if edge >= _WHOLE:
        return {"resize": (edge, edge)}
    return {"resize": int(edge / crop_pct), "crop": edge}


def _of_timm(content: Mapping[str, Any]) -> dict[str, Any]:
    _, height, width = content["input_size"]
    if content.get("crop_mode", "center") != "center":
        raise ValueError(f"the crop mode {content['crop_mode']!r} is not known here")
    edge = _square({"height": height, "width": width})
    return {
        "scale": 255.0,
        "mean": _numbers(content["mean"]),
        "std": _numbers(content["std"]),
        "resize": int(edge / content.get("crop_pct", 0.875)),
        "crop": edge,
        "interpolation": _interpolation(content.get("interpolation", "bilinear")),
    }


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values if isinstance(values, list) else [values]))


def _square(size: Any) -> int:
    if not isinstance(size, Mapping):
        return int(size)
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    if size["height"] != size["width"]:
        raise ValueError(f"a crop of {size['height']}x{size['width']} is no square")
    return int(size["height"])


def _interpolation(given: Any) -> str:
    found = _RESAMPLING.get(given, given)
    if found not in _RESAMPLING.values():
        raise ValueError(f"images are scaled by {given!r}, and here by bilinear or bicubic interpolation only")
    return str(found)
