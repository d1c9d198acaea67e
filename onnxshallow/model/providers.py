"""Which of onnxruntime's execution providers the sessions of a run use.

The choice is set once around a run, so that what lies between the options and the sessions need not pass it on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import onnxruntime as ort

from onnxshallow.errors import UsageError

__all__ = ["CPU", "available_providers", "current_providers", "read_providers", "running_on"]

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"
# What to install for a provider that onnxruntime knows and this build of it lacks.
_PACKAGES = {
    "CUDA": "onnxruntime-gpu",
    "TENSORRT": "onnxruntime-gpu and TensorRT",
    "DML": "onnxruntime-directml",
    "OPENVINO": "onnxruntime-openvino",
    "QNN": "onnxruntime-qnn",
    "COREML": "onnxruntime on macOS",
}
_chosen: ContextVar[tuple[str, ...]] = ContextVar("providers", default=(CPU,))


def available_providers() -> tuple[str, ...]:
    """The providers of the onnxruntime that is installed."""
    return tuple(ort.get_available_providers())


def read_providers(names: Sequence[str]) -> tuple[str, ...]:
    """Full names, the CPU's last, which takes the nodes that the others leave.

    Args:
        names: full names, or short ones such as `cuda`; case does not matter.

    Raises:
        UsageError: a provider is not known, or not available; says which are and what to install.
    """
    full = {_short(name): name for name in ort.get_all_providers()}
    found = []
    for name in names:
        known = full.get(_short(name))
        listed = ", ".join(available_providers())
        if known is None:
            raise UsageError(f"onnxruntime has no execution provider {name!r}; available here: {listed}.")
        if known not in available_providers():
            package = _PACKAGES.get(_short(known), "a build of onnxruntime that has it")
            raise UsageError(
                f"The onnxruntime that is installed has no {known}; install {package}, or use one of: {listed}."
            )
        found.append(known)
    return tuple(dict.fromkeys([*(name for name in found if name != CPU), CPU]))


def _short(name: str) -> str:
    return name.strip().removesuffix(_SUFFIX).upper()


@contextmanager
def running_on(names: Sequence[str] | None) -> Iterator[None]:
    """Let sessions that are made in the block use these providers; None for the CPU alone.

    Raises:
        UsageError: see `read_providers`.
    """
    token = _chosen.set((CPU,) if names is None else read_providers(names))
    try:
        yield
    finally:
        _chosen.reset(token)


def current_providers() -> tuple[str, ...]:
    """The providers of the block."""
    return _chosen.get()
