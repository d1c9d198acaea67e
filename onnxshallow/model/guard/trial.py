"""A first run of a model that nobody vouches for, within bounds of memory and time.

Sizes that depend on values, and loops whose end is computed, show when the model runs and not before. So a model with
such is run once, on zeros, with an allocator that gives no more than a limit, and is ended when it has computed for
too long. Computing time counts and not the clock's, so that a busy machine refuses nothing that an idle one takes.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from onnxshallow.errors import ModelError
from onnxshallow.model.network import Network
from onnxshallow.model.shapes import every_node
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.model.weights import byte_size, is_apart

__all__ = ["MAX_SECONDS", "require_bounded_run"]

MAX_SECONDS = 5.0
"""How long one sample may be computed the first time, in models with loops."""
# How often the time is looked at, in seconds.
_LOOK_EVERY = 0.05
# What lives at one time, in tensors of the largest size.
_AT_ONCE = 1.5


def require_bounded_run(model: onnx.ModelProto, network: Network, path: Path, max_tensor: int) -> None:
    """Run a model once on zeros where only a run can tell what it takes.

    Models whose inputs have open axes besides the first are not run.

    Args:
        model: the model.
        network: a view of it.
        path: its file, for messages.
        max_tensor: the most bytes that a tensor may take for one sample; all that live at one time may take
            half as much again.

    Raises:
        ModelError: the run takes too much memory or time.
    """
    if not _is_open(network) or any(map(is_apart, model.graph.initializer)):
        return
    feeds = _zeros(network.inferred, [info.name for info in network.inputs])
    if feeds is None:
        return
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.use_env_allocators", "1")
    _allow(int(_AT_ONCE * max_tensor) + 2 * byte_size(model))
    how = ort.RunOptions()
    how.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        with _ended(how, MAX_SECONDS if _loops(model) else None):  # what has no loops ends, and may be large
            session.run(None, feeds, how)
    except Exception as error:
        _complain(str(error), path, max_tensor)  # what else is wrong is said where the model is used
    finally:
        _allow(1 << 20)  # gives back what the last allocator held


@contextmanager
def _ended(how: ort.RunOptions, seconds: float | None) -> Iterator[None]:
    """Ends what runs with these options inside once the process has computed for so many seconds; None for never."""
    if seconds is None:
        yield
        return
    over, latest = threading.Event(), time.process_time() + seconds

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            if time.process_time() > latest:
                how.terminate = True
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _is_open(network: Network) -> bool:
    """Whether what the model takes is not known before it runs."""
    outputs = [name for node in network.nodes for name in node.outputs if name]
    return _loops(network.model) or not all(
        name in network.inferred and network.inferred[name].is_complete for name in outputs
    )


def _loops(model: onnx.ModelProto) -> bool:
    return any(node.op_type in ("Loop", "Scan") for node in every_node(model.graph))


def _zeros(infos: Mapping[str, TensorInfo], names: list[str]) -> dict[str, np.ndarray] | None:
    inputs = [infos.get(name) for name in names]
    known = [info for info in inputs if info is not None and info.is_complete]
    if len(known) < len(inputs):
        return None
    return {info.name: np.zeros([int(s or 0) for s in info.shape or ()], info.dtype) for info in known}


def _allow(most: int) -> None:
    """Let sessions that use the shared allocator have `most` bytes together, from now on."""
    where = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(where, ort.OrtArenaCfg(most, 1, -1, -1))


def _complain(message: str, path: Path, max_tensor: int) -> None:
    if "terminate flag" in message:
        raise ModelError(
            f"{path} takes more than {MAX_SECONDS:g} seconds for one sample of zeros, and has loops, which may never "
            "end; this is refused. Export it without them."
        )
    if "smaller than requested" in message or "Failed to allocate" in message or "bad_alloc" in message:
        raise ModelError(
            f"{path} takes more than {_AT_ONCE * max_tensor / 2**20:,.0f} MiB for one sample of zeros, one and "
            "a half times the limit for a tensor. If you trust the file, raise --max-tensor."
        )
    if "overflow" in message:
        raise ModelError(
            f"{path} computes a size that no memory holds; the file is damaged. Export or copy it again."
        )
