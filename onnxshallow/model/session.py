"""onnxruntime sessions, made in one place."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from onnxshallow.errors import ModelError
from onnxshallow.model.providers import CPU, Placed, current_providers
from onnxshallow.model.weights import with_relative_locations
from onnxshallow.text import first_line

__all__ = ["Session", "place", "share_cores", "usable_cores"]

# What this process was told to use at the most, where it shares the machine with others like it.
_most_cores: int | None = None


def share_cores(most: int) -> None:
    """Let this process use so many cores at the most, until it ends."""
    global _most_cores
    _most_cores = most


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity mask, where the system has such a thing."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return found if _most_cores is None else min(found, _most_cores)


def _places(threads: int) -> str:
    """A core for every thread but the first, which is the caller's, in onnxruntime's notation; "" to keep none."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ";".join(str(core + 1) for core in cores[1:threads]) if threads <= len(cores) else ""


class Session:
    """A model ready to run, on the CPU or on the providers of the block `running_on`.

    Args:
        model: the model; values in data files are mapped into memory, not copied.
        threads: intra-op threads; 0 for as many as there are usable cores. Left to itself, onnxruntime counts all
            cores of the machine and pins its threads to them, whatever `taskset` or a container says.
        spin: let onnxruntime's threads wait actively between runs. Worth it where runs follow each other at once,
            harmful where numpy computes in between.
        in_turns: for sessions that are timed in turns. Its threads stop waiting as soon as a run ends; else those of
            one session take the cores from the other for milliseconds, and make it up to 1.7 times as slow. And each
            is kept on a core, the same in every session, where the system allows that and there are enough; else one
            session's threads may share a core for as long as it lives, while the other's do not.
        arena: let onnxruntime keep memory for its next run. Outputs that are kept for long lie in the same blocks as
            what is used for a moment, so that those are never given back.
        optimize: let onnxruntime rewrite the graph. Its Pad fusion is left out: it is wrong for a zero Pad
            before MaxPool on negative data (seen in 1.31). False runs every node as written.
        profile: what the file begins with to which `end_profile` writes what was run.

    Raises:
        ModelError: onnxruntime does not accept the model, or cannot start a provider.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        threads: int = 0,
        spin: bool = True,
        in_turns: bool = False,
        arena: bool = True,
        optimize: bool = True,
        profile: Path | None = None,
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = arena
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        if in_turns:
            options.add_session_config_entry("session.force_spinning_stop", "1")
            if places := _places(options.intra_op_num_threads):
                options.add_session_config_entry("session.intra_op_thread_affinities", places)
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        wanted = current_providers()
        light, folder = with_relative_locations(model)
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
            options.add_session_config_entry("session.disable_prepacking", "1")  # which would copy the weights
        asked = [provider.for_session() for provider in wanted]
        try:
            self._session = ort.InferenceSession(
                light.SerializeToString(),
                options,
                providers=asked,
                disabled_optimizers=["Pad_Fusion"],
                enable_fallback=0,  # which would print to stdout, and go on with other providers
            )
        except Exception as error:
            raise ModelError(
                f"onnxruntime does not run the model: {first_line(error)}. {_remedy(str(error))}"
            ) from error
        if lost := sorted({name for name, _ in asked} - set(self._session.get_providers())):
            raise ModelError(
                f"onnxruntime cannot start {', '.join(lost)} on this machine; check its driver and libraries, or "
                "leave out --providers."
            )
        self.output_names = tuple(output.name for output in self._session.get_outputs())

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        """The values of `outputs` (default: all of the model's) for one batch.

        Raises:
            ModelError: onnxruntime fails on this input.
        """
        try:
            values: list[np.ndarray] = self._session.run(list(outputs) if outputs is not None else None, dict(feeds))
        except Exception as error:
            hint = "Check that the samples are what the model takes."
            if "Reshape" in str(error) or any(np.ndim(feed) and len(feed) > 1 for feed in feeds.values()):
                hint += " If a Reshape of the model fixes the batch, run it on single samples with --batch-size 1."
            raise ModelError(f"onnxruntime fails while running the model: {first_line(error)}. {hint}") from error
        return values

    def end_profile(self) -> Path:
        """Write what was run, and stop looking; the file's path."""
        return Path(self._session.end_profiling())


def _remedy(error: str) -> str:
    """What to do where no session can be made."""
    if "same node name" in error:
        return "Give every node a name of its own, or none."
    named = ", ".join(map(str, current_providers()[:-1]))
    if named:
        return f"Check the driver, the libraries and the options of {named}, or leave out --providers."
    return "Export it for the onnxruntime that is installed; `onnxshallow doctor` says which."


def place(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], threads: int = 0) -> tuple[Placed, ...]:
    """What each of the providers of the block runs of a model, as seen in a run that is profiled.

    onnxruntime leaves to the CPU what a provider does not take, without a word. On the CPU alone nothing is run.

    Args:
        model: the model.
        feeds: one batch.
        threads: see `Session`.

    Raises:
        ModelError: the model does not run, or no node is taken by another provider than the CPU.
    """
    wanted = current_providers()
    if len(wanted) == 1:
        return (Placed(CPU, {}),)
    with tempfile.TemporaryDirectory(prefix="onnxshallow-") as folder:
        session = Session(model, threads=threads, profile=Path(folder, "profile"))
        session.run(feeds)
        events = json.loads(session.end_profile().read_text(encoding="utf-8"))
    ran = {event["name"]: event["args"]["provider"] for event in events if event.get("args", {}).get("provider")}
    counts = Counter(ran.values())
    if not any(counts[provider.name] for provider in wanted[:-1]):
        names = " and ".join(provider.name for provider in wanted[:-1])
        raise ModelError(f"Of this model {names} would run nothing, and the CPU everything; leave out --providers.")
    return tuple(Placed(provider.name, dict(provider.options), counts[provider.name]) for provider in wanted)
