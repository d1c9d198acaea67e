"""The usual preprocessing of well-known data sets, by name."""

from typing import TYPE_CHECKING, Any, Literal

__all__ = ["PRESETS", "Preset"]

PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "resize": 256, "crop": 224},
    "cifar10": {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)},
    "cifar100": {"mean": (0.5071, 0.4867, 0.4408), "std": (0.2675, 0.2565, 0.2761)},
    "mnist": {"mean": (0.1307,), "std": (0.3081,)},
}
"""The usual preprocessing of a data set: options by name, channels in RGB order."""

_NAMES = tuple(PRESETS)
if TYPE_CHECKING:
    Preset = str
else:
    Preset = Literal[_NAMES]
    """The name of one."""
