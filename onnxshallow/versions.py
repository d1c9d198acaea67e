"""Versions of what a result depends on, and which onnxruntime there is.

onnxruntime comes in several packages that all bring one module, and hide each other where two are installed. Which is
there is the user's choice, so it is asked here and never taken for granted.
"""

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PLUGINS", "RUNTIMES", "__version__", "code_digest", "runtime_problem", "runtimes", "versions"]

__version__ = "0.1.0"

PLUGINS = "onnxshallow.actions"
"""The group of entry points by which other packages add actions."""

RUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-windowsml",
    "onnxruntime-training",
    "onnxruntime-silicon",
    "ort-nightly",
    "ort-nightly-gpu",
)
"""The packages that bring onnxruntime."""

_PACKAGES = ("onnx", "onnxruntime", "onnx-graphsurgeon", "numpy", "scipy")
_CHOICES = (
    "pip install 'onnxshallow[cpu]', or with [gpu], [openvino] or [directml] in its place where you have the hardware"
)


def versions() -> dict[str, str]:
    """Python's version, and those of the packages that compute results or add actions, by name.

    Where onnxruntime comes from a package of another name, that is named as well.
    """
    brought = runtimes()
    packages = {name: _version(name) for name in _PACKAGES}
    packages["onnxruntime"] = next(iter(brought.values()), None)
    found = {name: known or "unknown" for name, known in packages.items()}
    plugins = (point.dist for point in entry_points(group=PLUGINS))
    added = {plugin.name: plugin.version for plugin in plugins if plugin is not None}
    return {"python": platform.python_version(), "onnxshallow": __version__, **found, **brought, **added}


@cache
def code_digest() -> str:
    """What tells the code that is running from every other, also where both call themselves by one version.

    A version stands still while its code is worked on; what was measured by other code must not count.
    """
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def runtimes() -> dict[str, str]:
    """The packages that bring onnxruntime and are installed, with their versions; more than one is a mistake."""
    found = ((name, _version(name)) for name in RUNTIMES)
    return {name: known for name, known in found if known is not None}


def runtime_problem() -> str | None:
    """Why there is no onnxruntime to run models with, and the line to type; None where there is one."""
    brought = runtimes()
    spec = find_spec("onnxruntime")
    if spec is not None and spec.origin is not None:
        return None
    if brought:  # one package was removed, and took files of the other with it
        names = " ".join(brought)
        return f"Files of onnxruntime are missing; run: pip install --force-reinstall --no-deps {names}."
    return f"onnxruntime is not installed, and which one is your choice; run: {_CHOICES}."


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
