"""Run the command line and count what it takes; `benchmarks/work.py` starts it.

    python benchmarks/counted.py COUNTS.json optimize MODEL.onnx --target-relus 0.58 ...

It must import nothing of onnxshallow but what is counted, so that it serves any checkout that is on the search path.
"""

import contextlib
import importlib
import json
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

from onnxshallow.model import session

# Where the clock of the stages is, and where it was.
_CLOCKS = ("onnxshallow.runtime.progress", "onnxshallow.progress")


class Counts:
    """What has been done so far: sessions, their runs and CPU seconds, and by stage CPU seconds and multiply-adds."""

    def __init__(self) -> None:
        self.sessions, self.runs, self.seconds, self.counting = 0, 0, 0.0, 0.0
        self.stage = "else"
        self.macs: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()

    def watch(self) -> None:
        """Count every session and stage from now on."""
        start, run, counts = session.Session.__init__, session.Session.run, self

        def started(self: session.Session, model: onnx.ModelProto, **options: object) -> None:
            start(self, model, **options)
            self.counted = (model, {})
            counts.sessions += 1

        def counted(self: session.Session, feeds: Mapping[str, np.ndarray], *rest: object) -> list[np.ndarray]:
            before = time.process_time()
            values = run(self, feeds, *rest)
            after = time.process_time()
            model, known = self.counted
            shapes = {name: np.shape(value) for name, value in feeds.items()}
            key = str(shapes)
            if key not in known:
                known[key] = multiply_adds(model, shapes)
            counts.runs += 1
            counts.macs[counts.stage] += known[key]
            counts.seconds += after - before
            counts.counting += time.process_time() - after
            return values

        session.Session.__init__, session.Session.run = started, counted
        clock = next(found for name in _CLOCKS if (found := _found(name)) is not None)
        timed = clock.__call__

        @contextlib.contextmanager
        def noted(self: object, name: str) -> Iterator[None]:
            outer, counts.stage = counts.stage, name
            before = time.process_time() - counts.counting
            try:
                with timed(self, name):
                    yield
            finally:
                counts.stage = outer
                counts.cpu[name] += time.process_time() - counts.counting - before

        clock.__call__ = noted


def _found(module: str) -> type | None:
    try:
        return importlib.import_module(module).Clock
    except ImportError:
        return None


def multiply_adds(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiply-adds of the convolutions and matrix products of a model for inputs of these shapes."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for value in light.graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
    del light.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(light).graph
    known = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        known[value.name] = tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        sizes = [known.get(name, ()) for name in (*node.input[:2], node.output[0])]
        if node.op_type in ("Conv", "ConvTranspose"):
            total += math.prod(sizes[2] if node.op_type == "Conv" else sizes[0]) * math.prod(sizes[1][1:])
        elif node.op_type in ("Gemm", "MatMul") and sizes[0]:
            total += math.prod(sizes[2]) * sizes[0][-1]
    return total


def main() -> int:
    """Run, and write what was counted."""
    counts = Counts()
    counts.watch()
    target, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]
    code = 0
    from onnxshallow.cli.main import main as run

    with contextlib.redirect_stdout(sys.stderr):
        try:
            run()
        except SystemExit as done:
            code = int(done.code or 0)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "code": code,
        "cpu_seconds": usage.ru_utime + usage.ru_stime - counts.counting,
        "session_seconds": counts.seconds,
        "sessions": counts.sessions,
        "runs": counts.runs,
        "macs": counts.macs,
        "cpu": counts.cpu,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    target.write_text(json.dumps(found), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
