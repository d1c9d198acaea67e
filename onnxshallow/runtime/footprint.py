"""The memory that a model takes in onnxruntime, measured in a process of its own.

Run as a script, this file is that process: it must import nothing of onnxshallow, so that it starts fast, needs no
search path, and holds onnxruntime and the model alone.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

__all__ = ["FootprintError", "peak_memory"]

_RUNS = 3


class FootprintError(Exception):
    """Why there is no figure, without a full stop."""


def peak_memory(
    path: Path,
    feeds: Mapping[str, np.ndarray],
    threads: int,
    providers: Sequence[tuple[str, Mapping[str, str]]] = (("CPUExecutionProvider", {}),),
) -> int:
    """Bytes by which the resident set of a fresh process grows at most while it loads and runs a model.

    What Python, numpy, onnxruntime and the input take is not counted. The model is loaded from its file, as a service
    would do it.

    Args:
        path: the model.
        feeds: the input, of which the process gets the names, types and shapes; its values are zeros.
        threads: intra-op threads.
        providers: execution providers with their options; what one takes of a device's own memory is not counted.

    Raises:
        FootprintError: the process cannot be started or fails, or the system does not say what a process holds.
    """
    order = {
        "path": str(path.absolute()),
        "threads": threads,
        "providers": [[name, dict(given)] for name, given in providers],
        "feeds": {name: [str(value.dtype), list(value.shape)] for name, value in feeds.items()},
    }
    # -P keeps the folder of this file, whose modules have short names, off the child's search path.
    command = [sys.executable, "-P", __file__]
    try:
        done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=False)
    except OSError as error:
        raise FootprintError(f"no process can be started ({error.strerror or error})") from error
    try:
        return int(json.loads(done.stdout)["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise FootprintError(f"the process that was to measure it failed: {last.rstrip('.')}") from error


def _main() -> None:
    """Read an order from stdin, run it, and write what it took to stdout."""
    import onnxruntime as ort

    order = json.load(sys.stdin)
    feeds = {name: np.full(shape, 0, dtype) for name, (dtype, shape) in order["feeds"].items()}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = order["threads"]
    options.inter_op_num_threads = 1
    before = _forget_peak()
    session = ort.InferenceSession(
        order["path"],
        options,
        providers=[(name, given) for name, given in order["providers"]],
        disabled_optimizers=["Pad_Fusion"],
        enable_fallback=0,
    )
    for _ in range(_RUNS):
        session.run(None, feeds)
    print(json.dumps({"bytes": max(0, _status("VmHWM") - before)}))


def _forget_peak() -> int:
    """Bytes that this process holds now, from which its peak is counted anew where the system can do that."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as stream:
            stream.write("5")
    except OSError:  # then the peak is that since the start, which imports hardly raise above what they leave
        pass
    return _status("VmRSS")


def _status(key: str) -> int:
    """A size that Linux tells of this process by such a key, in bytes, or that which another system tells."""
    try:
        with open("/proc/self/status", encoding="ascii") as stream:
            return next(int(line.split()[1]) for line in stream if line.startswith(key)) * 1024
    except (OSError, StopIteration, ValueError):
        return _elsewhere(peak=key == "VmHWM")


def _elsewhere(peak: bool) -> int:
    """Bytes that this process holds or held at most, on Windows or macOS."""
    import psutil

    now = psutil.Process().memory_info()
    if not peak:
        return int(now.rss)
    if (most := getattr(now, "peak_wset", None)) is not None:
        return int(most)
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    raise SystemExit("this system does not say what a process held at most")


if __name__ == "__main__":
    _main()
