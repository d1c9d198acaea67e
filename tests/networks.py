"""Tiny networks as text, ways to run them, and calibrations for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import Candidate, Statistics
from onnxshallow.analysis import Analysis, analyze
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.fitting.moments import Parabola, SiteStatistics
from onnxshallow.model.session import Session
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.runtime.store import ActivationStore

Array = NDArray[np.float32]
Weight = tuple[int, ...] | NDArray[np.generic] | Sequence[float] | float

CHAIN = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    h = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(h)
    y = Conv<pads=[1,1,1,1]>(r, w2, b2)
}"""
CHAIN_WEIGHTS: dict[str, Weight] = {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (4, 5, 3, 3), "b2": (4,)}

RESIDUAL = """(float[N,3,8,8] x) => (float[N,5] y) {
    s = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r0 = Relu(s)
    h1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)
    s1 = Add(h2, r0)
    r2 = Relu(s1)
    h3 = Conv<pads=[1,1,1,1]>(r2, w3, b3)
    r3 = Relu(h3)
    h4 = Conv<pads=[1,1,1,1]>(r3, w4, b4)
    s2 = Add(h4, r2)
    r4 = Relu(s2)
    p = GlobalAveragePool(r4)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w5, b5)
}"""
RESIDUAL_WEIGHTS: dict[str, Weight] = {
    "w0": (6, 3, 3, 3),
    "b0": (6,),
    **{f"w{i}": (6, 6, 3, 3) for i in range(1, 5)},
    **{f"b{i}": (6,) for i in range(1, 5)},
    "w5": (5, 6),
    "b5": (5,),
}


def build(text: str, *, opset: int = 17, ir_version: int = 8, seed: int = 0, **weights: Weight) -> onnx.ModelProto:
    """A checked model from a graph's text.

    Args:
        text: the graph, from its inputs on.
        opset: version of the operator set.
        ir_version: version of the format.
        seed: of the generator that draws weights.
        weights: initializers; where a shape is given, normal numbers, of variance 2 / (inputs of an output)
            for kernels.
    """
    header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}]>\ngraph '
    model = onnx.parser.parse_model(header + text)
    random = np.random.default_rng(seed)
    for name, value in weights.items():
        if isinstance(value, tuple):
            fan_in = int(np.prod(value[1:])) if len(value) > 1 else 8
            value = (random.normal(size=value) * np.sqrt(2 / fan_in)).astype(np.float32)
        array = np.asarray(value, dtype=np.float32) if isinstance(value, list | float) else np.asarray(value)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(model, full_check=True)
    return model


def chain(**changes: Weight) -> onnx.ModelProto:
    """Conv, Relu, Conv, both 3x3 and padded."""
    return build(CHAIN, **{**CHAIN_WEIGHTS, **changes})


def residual(seed: int = 0) -> onnx.ModelProto:
    """A stem and two residual blocks before a classifier of five classes."""
    return build(RESIDUAL, seed=seed, **RESIDUAL_WEIGHTS)


def signed(shape: Sequence[int], seed: int = 0) -> Array:
    """Normal numbers in float32."""
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype(np.float32)


def smooth(count: int, channels: int, size: int, seed: int = 0) -> Array:
    """Images (count, channels, size, size) whose neighbouring pixels are alike, as in natural images."""
    noise = np.random.default_rng(seed).normal(size=(count, channels, size + 4, size + 4))
    mean = np.lib.stride_tricks.sliding_window_view(noise, (5, 5), axis=(2, 3)).mean(axis=(-1, -2))
    return (mean * 5).astype(np.float32)


def feeds_of(model: onnx.ModelProto, samples: int = 2, seed: int = 0) -> dict[str, Array]:
    """Signed random values for every input of a model, whose first axes are the samples."""
    given = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for offset, value in enumerate(v for v in model.graph.input if v.name not in given):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        feeds[value.name] = signed([sizes[0] or samples, *sizes[1:]], seed + offset)
    return feeds


def run_exactly(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """The outputs by onnx's reference, after a comparison with onnxruntime without optimizations."""
    expected = ReferenceEvaluator(model).run(None, feeds)
    actual = Session(model, threads=1, optimize=False).run(feeds)
    for one, other in zip(actual, expected, strict=True):
        assert_near(one, other, 1e-4)
    return list(expected)


def error_of(actual: NDArray[np.generic], expected: NDArray[np.generic]) -> float:
    """The largest difference over the RMS of what is expected."""
    assert actual.shape == expected.shape
    wanted = np.asarray(expected, dtype=np.float64)
    rms = float(np.sqrt(np.mean(wanted**2))) or 1.0
    return float(np.max(np.abs(np.asarray(actual, dtype=np.float64) - wanted), initial=0.0)) / rms


def assert_near(actual: NDArray[np.generic], expected: NDArray[np.generic], tolerance: float = 1e-4) -> None:
    """Fail unless two arrays are equal to `tolerance` of the RMS of what is expected."""
    error = error_of(actual, expected)
    assert error <= tolerance, f"differs by {error:.3g} of the expected output's RMS"


def operators(model: onnx.ModelProto) -> list[str]:
    """Operator types in graph order."""
    return [node.op_type for node in model.graph.node]


def calibration_of(
    feeds: dict[str, Array], *, batch: int = 16, fit_batches: int | None = None, **options: object
) -> Calibration:
    """A calibration on `feeds`, three quarters of whose batches are fitted on."""
    count = len(next(iter(feeds.values())))
    batches = [
        {name: array[start : start + batch] for name, array in feeds.items()} for start in range(0, count, batch)
    ]
    fitted = max(1, len(batches) * 3 // 4) if fit_batches is None else fit_batches
    fit = replace(FitOptions(), **options)  # type: ignore[arg-type]
    return Calibration(batches, fitted, ActivationStore(1 << 30), fit, threads=1)


def statistics_of(analysis: Analysis, calibration: Calibration) -> Statistics:
    """The affine maps of all removable sites."""
    return collect_statistics(analysis, [site for site in analysis.sites if site.refusal is None], calibration)


def some_statistics(analysis: Analysis, seed: int = 0) -> Statistics:
    """Made-up polynomials for all sites, so that nothing is right by accident."""
    random, places = np.random.default_rng(seed), np.random.default_rng((seed, 1))
    found = {}
    for site in analysis.sites:
        shape = analysis.network.full_shape(site.output)
        fixed = analysis.network.has_fixed_sizes and site.channels > 1 and shape is not None
        pixels = _some_response(places, shape[1:]) if fixed and shape is not None else None
        found[site.name] = replace(_some_response(random, (site.channels,)), pixels=pixels)
    return found


def _some_response(random: np.random.Generator, shape: tuple[int, ...]) -> SiteStatistics:
    scale, shift = random.uniform(0.3, 0.9, shape), random.uniform(0.1, 0.6, shape)
    curve = Parabola(*(random.uniform(0.1, 0.5, shape) for _ in range(3)))
    left = random.uniform(0.1, 0.2, shape)
    edge = np.full(shape, 3.0)
    return SiteStatistics(scale, shift, left, curve, left / 2, -edge, edge, 0 * edge, edge)


ACTIVATED = "(float[N,3,6,6] x) => (float[N,4,6,6] y) {{ h = Conv<pads=[1,1,1,1]>(x, w) y = {} }}"


def activated(text: str = "Relu(h)", **options: object) -> onnx.ModelProto:
    """A convolution and one activation of what it makes, h."""
    weights = {"zero": np.float32(0), "six": np.float32(6)}
    used = {name: np.asarray(value) for name, value in weights.items() if name in text}
    return build(ACTIVATED.format(text), w=(4, 3, 3, 3), **used, **options)


def with_affine(
    model: onnx.ModelProto, statistics: Statistics, input_shapes: Mapping[str, Sequence[int]] | None = None
) -> onnx.ModelProto:
    """A copy of `model` in which the sites named by `statistics` are replaced by a Mul and an Add each."""
    sites = {site.output: site for site in analyze(model, input_shapes).sites if site.name in statistics}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    for node in model.graph.node:
        site = sites.get(node.output[0])
        if site is None:
            result.graph.node.append(node)
            continue
        affine = statistics[site.name]
        for part, values in (("scale", affine.scale), ("shift", affine.shift)):
            array = values.astype(np.float32).reshape(1, -1, *(1,) * site.rank)
            result.graph.initializer.append(onnx.numpy_helper.from_array(array, f"{site.output}.{part}"))
        inner = f"{site.output}.inner"
        result.graph.node.extend(
            [
                onnx.helper.make_node("Mul", [site.source, f"{site.output}.scale"], [inner]),
                onnx.helper.make_node("Add", [inner, f"{site.output}.shift"], [site.output]),
            ]
        )
    return result


def applied(
    model: onnx.ModelProto,
    candidates: Sequence[Candidate],
    statistics: Statistics,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> onnx.ModelProto:
    """The model with candidates applied, not fitted; checks what must hold for every result."""
    before = model.SerializeToString(deterministic=True)
    result = apply_candidates(analyze(model, input_shapes), candidates, statistics).model
    assert model.SerializeToString(deterministic=True) == before
    assert result is not model
    assert list(result.graph.input) == list(model.graph.input)
    assert list(result.graph.output) == list(model.graph.output)
    assert result.ir_version == model.ir_version
    assert list(result.opset_import) == list(model.opset_import)
    onnx.checker.check_model(result, full_check=True)
    return result
