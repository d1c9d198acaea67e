"""Versions of what a result depends on."""

import platform
from importlib.metadata import PackageNotFoundError, entry_points, version

__all__ = ["PLUGINS", "versions"]

PLUGINS = "onnxshallow.actions"
"""The group of entry points by which other packages add actions."""

_PACKAGES = ("onnxshallow", "onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Python's version, and those of the packages that compute results or add actions, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that is not installed
            found[name] = "unknown"
    packages = (point.dist for point in entry_points(group=PLUGINS))
    return found | {package.name: package.version for package in packages if package is not None}
