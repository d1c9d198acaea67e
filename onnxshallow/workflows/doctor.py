"""Whether this installation can work: versions, onnxruntime, memory, the cache, and which extras are there.

Nothing heavy is imported before it is known to be there, since this is what people run when something is missing.
"""

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import Requirement

from onnxshallow import __version__
from onnxshallow.errors import ExitCode
from onnxshallow.model.files import cache_folder
from onnxshallow.report.schema.doctor import CacheReport, DoctorReport, PackageReport
from onnxshallow.search.sensitivity.cache import MOST_BYTES, cache_files
from onnxshallow.text import first_line
from onnxshallow.versions import RUNTIMES, runtime_problem, runtimes

__all__ = ["examine"]

_ENOUGH_MEMORY = 1 << 30


def examine() -> DoctorReport:
    """Look at everything; `problems` says what to do about what is wrong, `hints` about what might be better."""
    problems: list[str] = []
    hints: list[str] = []
    packages, extras = _packages(problems, hints)
    providers = _providers(problems)
    runs = bool(providers) and _runs(problems)  # without a runtime, which was told, there is nothing to run
    memory = _free_memory()
    if memory is not None and memory < _ENOUGH_MEMORY:
        hints.append(f"Only {memory >> 20} MiB of memory are free; give --memory to keep activations on disk.")
    cache = _cache()
    if not cache.writable:
        hints.append(f"The cache {cache.path} cannot be written to, so sweeps are not kept; set ONNXSHALLOW_CACHE.")
    return DoctorReport(
        version=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cores=_cores(),
        memory_bytes=memory,
        packages=packages,
        extras=extras,
        providers=providers,
        runs=runs,
        cache=cache,
        problems=problems,
        hints=hints,
        exit_code=int(ExitCode.UNUSABLE_INPUT if problems else ExitCode.OK),
    )


def _packages(problems: list[str], hints: list[str]) -> tuple[list[PackageReport], dict[str, list[str]]]:
    """What is required, and for each extra the packages that it lacks."""
    try:
        stated = metadata("onnxshallow")
    except PackageNotFoundError:
        hints.append("onnxshallow runs from its sources, so versions are not checked; `pip install .` lets them be.")
        return [], {}
    packages: list[PackageReport] = []
    extras: dict[str, list[str]] = {}
    runtime, needed = runtimes(), ">=0"
    for wanted in map(Requirement, stated.get_all("Requires-Dist", [])):
        name, marker, found = wanted.name, wanted.marker, _version(wanted.name)
        if name in RUNTIMES:  # whichever is there will do
            needed = str(wanted.specifier) or needed
            continue
        ok = found is not None and wanted.specifier.contains(found, prereleases=True)
        if marker is not None and not marker.evaluate({"extra": ""}):
            for extra in stated.get_all("Provides-Extra", []):
                if name != "onnxshallow" and marker.evaluate({"extra": extra}):
                    extras.setdefault(extra, []).extend([] if ok else [name])
            continue
        least = next((limit.version for limit in wanted.specifier if limit.operator == ">="), None)
        packages.append(PackageReport(name=name, version=found, least=least, ok=ok))
        if not ok:
            what = "is missing" if found is None else f"is {found}, which is too old"
            problems.append(f"{name} {what}; run: pip install '{name}{wanted.specifier}'.")
    packages += _runtime(runtime, Requirement(f"onnxruntime{needed}"), problems)
    return packages, extras


def _runtime(brought: Mapping[str, str], wanted: Requirement, problems: list[str]) -> list[PackageReport]:
    """The packages that bring onnxruntime; more than one, and one that is too old, are problems."""
    least = next((limit.version for limit in wanted.specifier if limit.operator == ">="), None)
    reports = []
    for name, found in brought.items():
        ok = wanted.specifier.contains(found, prereleases=True)
        reports.append(PackageReport(name=name, version=found, least=least, ok=ok))
        if not ok:
            problems.append(f"{name} is {found}, which is too old; run: pip install '{name}{wanted.specifier}'.")
    if len(brought) > 1:
        names = list(brought)
        problems.append(
            f"{' and '.join(names)} bring the same module and hide each other; keep one of them, such as the last: "
            f"pip uninstall -y {' '.join(names)} && pip install {names[-1]}."
        )
    return reports


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _providers(problems: list[str]) -> list[str]:
    try:
        from onnxshallow.model.providers import available_providers

        return list(available_providers())
    except Exception as error:
        installed = next(iter(runtimes()), "onnxruntime")
        problems.append(
            runtime_problem()
            or f"onnxruntime cannot be imported ({first_line(error)}); run: pip install -U {installed}."
        )
        return []


def _runs(problems: list[str]) -> bool:
    """Whether a model of one node computes what it should."""
    try:
        import numpy as np
        from onnx import TensorProto, helper

        from onnxshallow.model.session import Session

        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "check", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        (values,) = Session(model, threads=1).run({"x": np.array([-1, 2], dtype=np.float32)})
        if values.tolist() == [0, 2]:
            return True
        installed = next(iter(runtimes()), "onnxruntime")
        problems.append(f"{installed} computes Relu(-1, 2) = {values.tolist()}; reinstall it, and numpy.")
    except Exception as error:
        problems.append(
            f"A model of one node does not run ({first_line(error)}); reinstall onnx, "
            f"{next(iter(runtimes()), 'onnxruntime')} and numpy."
        )
    return False


def _cores() -> int:
    try:
        from onnxshallow.model.session import usable_cores

        return usable_cores()
    except Exception:  # onnxruntime is broken, which is told elsewhere
        return os.cpu_count() or 1


def _free_memory() -> int | None:
    try:
        import psutil
    except ImportError:  # which is told elsewhere
        return None
    return psutil.virtual_memory().available


def _cache() -> CacheReport:
    folder = cache_folder()
    files = cache_files(folder)
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    return CacheReport(
        path=str(folder), files=len(files), size_bytes=_sizes(files), most_bytes=MOST_BYTES, writable=writable
    )


def _sizes(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.exists())
