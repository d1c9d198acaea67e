"""What layers take on this machine, and what candidates save of it: prices for `--target-latency`.

A table of seconds by the shape of a convolution (kernel, strides, groups, channels, map). Each shape is measured when
it is first asked for, in some hundredths of a second, and kept in the cache folder, for this processor and
onnxruntime. All else is counted (`onnxshallow.analysis.effort`) and put in seconds by what a well-known layer takes.

What is measured is a layer among others: the sum of three like it, less one, halved. So neither the start of a run is
in it nor bringing the channels into blocks, which happens once at the ends of a network.

Such prices nearly add up, and are a row of the integer program. What a plan takes is timed in turns with the
original.
"""

import platform
import time
from collections.abc import Sequence
from dataclasses import astuple, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.analysis import Analysis, NotLinearError
from onnxshallow.analysis.effort import LayerShape, count_effort, layer_effort
from onnxshallow.model.network import Network
from onnxshallow.model.providers import current_providers
from onnxshallow.model.session import Session
from onnxshallow.rewriting.lowering.lower import MaskForm
from onnxshallow.rewriting.realize import unfitted
from onnxshallow.versions import versions

__all__ = ["Known", "Timetable", "with_times"]

# What efforts are put in seconds by: 3x3, 64 channels, 16x16.
_KNOWN = LayerShape((3, 3), (1, 1), (1, 1), 1, 64, 64, (16, 16), (16, 16))
# Seconds that a shape is timed for at most, and runs at least; which run counts, of all from fast to slow.
_SECONDS, _LEAST_RUNS, _QUANTILE = 0.03, 10, 0.2
# How many layers are summed beside one.
_BESIDE = 3
# A layer takes at least this part of what is counted: what comes out lower is noise.
_LEAST = 0.1


class Known(Protocol):
    """Numbers by key, some of which may be kept from run to run."""

    def __contains__(self, key: str) -> bool:
        """Whether a number is known."""

    def __getitem__(self, key: str) -> float:
        """A number that is known."""

    def __setitem__(self, key: str, value: float) -> None:
        """Let a number be known."""


class Timetable:
    """Seconds of layers and networks on this machine, for one sample.

    Args:
        threads: of onnxruntime; 0 for all cores.
        known: seconds by a layer's key, to which what is measured is added; of `identity`.
    """

    def __init__(self, threads: int, known: Known) -> None:
        self._threads = threads
        self._known = known

    @staticmethod
    def identity(threads: int) -> dict[str, object]:
        """What times depend on."""
        found = versions()
        runtimes = {name: found[name] for name in found if name.startswith("onnxruntime")}
        machine = [platform.node(), platform.machine(), platform.processor()]
        return {"machine": machine, "threads": threads, "providers": list(map(str, current_providers())), **runtimes}

    def seconds(self, network: Network) -> float:
        """What a network takes, but for the start of a run."""
        return self.unit * count_effort(network, lambda shape: self.layer(shape) / self.unit)

    def layer(self, shape: LayerShape) -> float:
        """What a convolution takes."""
        key = "x".join(map(str, np.hstack(astuple(shape)).tolist()))
        if key not in self._known:
            self._known[key] = _measured(shape, self._threads)
        counted = 0.0 if shape == _KNOWN else _LEAST * self.unit * layer_effort(shape)
        return max(self._known[key], counted)

    @cached_property
    def unit(self) -> float:
        """Seconds of a unit of effort."""
        return self.layer(_KNOWN) / layer_effort(_KNOWN)


def with_times(
    analysis: Analysis, candidates: Sequence[Candidate], statistics: Statistics, table: Timetable, form: MaskForm
) -> tuple[Candidate, ...]:
    """The candidates with the seconds that each saves; one that cannot be carried out alone saves none.

    Args:
        analysis: of the original.
        candidates: without times.
        statistics: what the original's sites do.
        table: what layers take.
        form: how activations that are kept in part are written.
    """
    whole, shapes = table.seconds(analysis.network), analysis.network.input_shapes

    def saved(candidate: Candidate) -> float:
        try:
            return whole - table.seconds(Network(unfitted(analysis, [candidate], statistics, form), shapes))
        except NotLinearError:
            return 0.0

    return tuple(replace(candidate, time=saved(candidate)) for candidate in candidates)


def _measured(shape: LayerShape, threads: int) -> float:
    """Seconds of one layer among others."""
    one, several = (Session(_sum_of(shape, count), threads=threads, in_turns=True) for count in (1, _BESIDE))
    feeds = {"x": np.random.default_rng(0).standard_normal((1, shape.inputs, *shape.read)).astype(np.float32)}
    times: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(times) < _LEAST_RUNS or time.perf_counter() - begin < _SECONDS:
        times.append((_once(one, feeds), _once(several, feeds)))
    alone, together = np.quantile(times, _QUANTILE, axis=0)
    return max(float(together - alone) / (_BESIDE - 1), 0.0)


def _once(session: Session, feeds: dict[str, np.ndarray]) -> float:
    session.run(feeds)  # finds its weights in the cache again
    begin = time.perf_counter()
    session.run(feeds)
    return time.perf_counter() - begin


def _sum_of(shape: LayerShape, count: int) -> onnx.ModelProto:
    """So many layers of a shape that read one tensor, summed up."""
    weight = (shape.outputs, shape.inputs // shape.groups, *shape.kernel)
    random = np.random.default_rng(0)
    stored, nodes, total = [], [], "y0"
    for index in range(count):
        values = random.standard_normal(weight).astype(np.float32)
        stored.append(numpy_helper.from_array(values, f"w{index}"))
        attributes = {"strides": shape.strides, "dilations": shape.dilations, "pads": _pads(shape)}
        nodes.append(helper.make_node("Conv", ["x", f"w{index}"], [f"y{index}"], group=shape.groups, **attributes))
        if index:
            nodes.append(helper.make_node("Add", [total, f"y{index}"], [f"s{index}"]))
            total = f"s{index}"
    read = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, shape.inputs, *shape.read))
    made = helper.make_tensor_value_info(total, onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "layers", [read], [made], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _pads(shape: LayerShape) -> list[int]:
    """Zeros before each axis, then after each, by which the layer makes as much as it should."""
    axes = zip(shape.kernel, shape.strides, shape.dilations, shape.read, shape.made, strict=True)
    total = [max((made - 1) * s + d * (k - 1) + 1 - read, 0) for k, s, d, read, made in axes]
    return [*(zeros // 2 for zeros in total), *(zeros - zeros // 2 for zeros in total)]
