"""Which of onnxruntime's execution providers the sessions of a run use, on which devices, with which options.

    cuda                          by name, as onnxruntime's or short; case does not matter
    cuda:1   openvino:AUTO:GPU    on a device
    trt:0:trt_fp16_enable=1       with options of the provider, as many as wanted

The choice is set once around a run, so that what lies between the options and the sessions need not pass it on.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import onnxruntime as ort

from onnxshallow.errors import UsageError
from onnxshallow.model.files import cache_folder

__all__ = ["CPU", "Placed", "Provider", "available_providers", "current_providers", "read_providers", "running_on"]

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"
_TENSORRT = "Tensorrt" + _SUFFIX
_SHORT = {"TRT": "TENSORRT", "DIRECTML": "DML"}
# The option by which each provider takes a device; the others have none to choose from.
_DEVICES = {
    **dict.fromkeys(("CUDA", "TENSORRT", "ROCM", "MIGRAPHX", "DML", "CANN"), "device_id"),
    "OPENVINO": "device_type",
}
# What to install for a provider that onnxruntime knows and this build of it lacks.
_PACKAGES = {
    "CUDA": "onnxruntime-gpu",
    "TENSORRT": "onnxruntime-gpu and TensorRT",
    "DML": "onnxruntime-directml",
    "OPENVINO": "onnxruntime-openvino",
    "QNN": "onnxruntime-qnn",
    "COREML": "onnxruntime on macOS",
}


@dataclass(frozen=True)
class Provider:
    """An execution provider and its options.

    Its text is the name followed by the options, and is read as the same provider again.

    Attributes:
        name: onnxruntime's.
        options: that were given, and the device.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{key}={value}" for key, value in self.options)])

    def for_session(self) -> tuple[str, dict[str, str]]:
        """What a session of onnxruntime takes.

        TensorRT tries out kernels for every network anew. It may keep how fast they were, which goes for all of them.
        """
        return self.name, {**(_kept_timings() if self.name == _TENSORRT else {}), **dict(self.options)}


def _kept_timings() -> dict[str, str]:
    """Where TensorRT keeps its timings; nothing where no folder can be made for them."""
    folder = cache_folder() / "tensorrt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder)}


@dataclass(frozen=True)
class Placed:
    """A provider and what it was left to run.

    Attributes:
        name: onnxruntime's.
        options: that were given, and the device.
        nodes: of the model as onnxruntime runs it, where a part that a provider compiles is one node; None where
            everything was on the CPU, which is not counted.
    """

    name: str
    options: dict[str, str]
    nodes: int | None = None


_chosen: ContextVar[tuple[Provider, ...]] = ContextVar("providers", default=(Provider(CPU),))


def available_providers() -> tuple[str, ...]:
    """The providers of the onnxruntime that is installed."""
    return tuple(ort.get_available_providers())


def read_providers(texts: Sequence[str]) -> tuple[Provider, ...]:
    """The providers in their order, the CPU's last, which takes the nodes that the others leave.

    Args:
        texts: as above.

    Raises:
        UsageError: a provider is not known, or not available; says which are and what to install. Or it is named
            twice, has no devices to choose from, or has an option that would make results wrong.
    """
    found = [_read(text) for text in texts]
    names = [provider.name for provider in found if provider.name != CPU]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--providers names {twice} twice, and a session has one of each; name it once.")
    return (*(provider for provider in found if provider.name != CPU), Provider(CPU))


def _read(text: str) -> Provider:
    """One provider."""
    spelled, *rest = text.strip().split(":")
    name = _known(spelled)
    if name == CPU and rest:
        raise UsageError(f"--providers {text}: the CPU has neither devices nor options; write cpu.")
    device = list(itertools.takewhile(lambda part: "=" not in part, rest))
    given = {_device_option(name, text): ":".join(device)} if device else {}
    for part in rest[len(device) :]:
        if "=" in part:
            key, value = part.split("=", 1)
            given[key] = value
        else:  # the value before has a colon, as that of a drive has
            given[key] += f":{part}"
    if name == _TENSORRT and given.get("trt_engine_cache_enable", "0").lower() not in ("0", "false"):
        raise UsageError(
            f"--providers {text}: TensorRT finds an engine that it has kept by the names in a network, whatever its "
            "weights are, and would answer for one network with another's; leave out trt_engine_cache_enable. What "
            "it learns of kernels is kept."
        )
    return Provider(name, tuple(given.items()))


def _known(spelled: str) -> str:
    """The full name of a provider that is available."""
    known: str | None = {_short(name): name for name in ort.get_all_providers()}.get(_short(spelled))
    listed = ", ".join(available_providers())
    if known is None:
        raise UsageError(f"onnxruntime has no execution provider {spelled!r}; available here: {listed}.")
    if known not in available_providers():
        package = _PACKAGES.get(_short(known), "a build of onnxruntime that has it")
        raise UsageError(
            f"The onnxruntime that is installed has no {known}; install {package}, or use one of: {listed}."
        )
    return known


def _device_option(name: str, text: str) -> str:
    """The option by which a provider takes its device."""
    option = _DEVICES.get(_short(name))
    if option is None:
        raise UsageError(f"--providers {text}: {name} has no devices to choose from; write its options as KEY=VALUE.")
    return option


def _short(name: str) -> str:
    plain = name.strip().removesuffix(_SUFFIX).upper()
    return _SHORT.get(plain, plain)


@contextmanager
def running_on(texts: Sequence[str] | None) -> Iterator[None]:
    """Let sessions that are made in the block use these providers; None for the CPU alone.

    Raises:
        UsageError: see `read_providers`.
    """
    token = _chosen.set((Provider(CPU),) if texts is None else read_providers(texts))
    try:
        yield
    finally:
        _chosen.reset(token)


def current_providers() -> tuple[Provider, ...]:
    """The providers of the block."""
    return _chosen.get()
