"""Versions of what a result depends on."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

_PACKAGES = ("onnxshallow", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Python's version, and those of the packages that compute results, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[name] = "unknown"
    return found
