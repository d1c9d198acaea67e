"""How a rewritten model is checked where no accuracy is known: by whatever reads and runs ONNX models."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxshallow.analysis import analyze
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.model.measurable import measurable
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.model.tensors import with_sizes
from tests.graphs import TOLERANCE, assert_close, interface

# The reference implementation computes a convolution in Python; more multiply-adds than this take too long.
MOST_REFERENCE_MACS = 30_000_000


def checks(
    model: onnx.ModelProto, original: onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None
) -> list[str]:
    """What a rewritten model passed, in words; fails where one of them says no.

    Args:
        model: the rewritten model.
        original: the model that it was made from.
        shapes: sizes of the inputs' open axes.
    """
    assert interface(model) == interface(original), "inputs, outputs or versions are not the original's"
    passed = []
    if _accepts(original):
        onnx.checker.check_model(model, full_check=True)
        passed.append("onnx.checker")
    model, original = (before_softmax(measurable(each, scores=False).model) for each in (model, original))
    values = _values(original, shapes)
    plain, fast = (Session(model, threads=1, optimize=optimize).run(values) for optimize in (False, True))
    for output, one, other in zip(model.graph.output, plain, fast, strict=True):
        if difference(other, one) > TOLERANCE[one.dtype] and difference(other, one) > 4 * _spread(original, values):
            assert_close(other, one, f"{output.name} of onnxruntime's optimized session")
    passed.append("onnxruntime, with and without optimizations")
    if analyze(model, shapes).cost.macs <= MOST_REFERENCE_MACS:
        try:
            by_reference = ReferenceEvaluator(model).run(None, values)
        except Exception:  # operators of other domains, and gaps in those of onnx, raise all kinds of errors
            return passed
        for output, one, other in zip(model.graph.output, plain, by_reference, strict=True):
            assert_close(np.asarray(other), one, f"{output.name} of onnx.reference")
        passed.append("onnx.reference")
    return passed


def before_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what a last Softmax reads in its place: of scores of 1e9 it shows nothing but their rounding."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    sources = {node.output[0]: node.input[0] for node in result.graph.node if node.op_type == "Softmax"}
    for output in result.graph.output:
        output.name = sources.get(output.name, output.name)
    return result


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the RMS of what is expected."""
    wanted = expected.astype(np.float64)
    rms = float(np.sqrt(np.mean(wanted**2))) or 1.0
    return float(np.max(np.abs(actual.astype(np.float64) - wanted), initial=0.0)) / rms


def _spread(original: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> float:
    """How far the original's own outputs move with onnxruntime's optimizations: deep networks amplify rounding."""
    plain, fast = (Session(original, threads=1, optimize=optimize).run(values) for optimize in (False, True))
    return max(difference(one, other) for one, other in zip(fast, plain, strict=True))


def _accepts(model: onnx.ModelProto) -> bool:
    """Whether onnx's checker has nothing against a model."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # the checker's own errors, and those of shape inference, have no common base
        return False
    return True


def _values(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None) -> dict[str, np.ndarray]:
    """Synthetic values for one batch: the model's own size, or two samples."""
    inputs = with_sizes(Network(model).inputs, shapes)
    fixed = [info.shape[0] for info in inputs if info.shape and isinstance(info.shape[0], int)]
    count = fixed[0] if fixed else 2
    return dict(synthesize(inputs, count, 1, Preprocessing()).batch(np.arange(count)))
