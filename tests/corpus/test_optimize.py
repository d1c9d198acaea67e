"""Other people's models and networks of odd kinds, through `optimize` and whatever can check the result.

`benchmarks/corpus.py` does the same with more samples and the real measure of damage, and writes docs/corpus.md.
"""

from pathlib import Path

import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import DataError, ModelError, TargetError
from onnxshallow.workflows import outcome
from onnxshallow.workflows.optimize import optimize
from tests.corpus.checks import checks
from tests.graphs import frozen, ops
from tests.kinds import KINDS
from tests.runs import made, speed_of

FOLDER = Path(__file__).parents[3] / "shared" / "corpus"
FILES = sorted(FOLDER.glob("*.onnx"))
QUICK = dict(target_relus=0.7, calib_samples=5, cache=False, sensitivity="magnitude", correction=False, memory="1G")
# Networks of 224 x 224 pixels and more: a plan of one or two steps shows as much as one of twenty.
LARGE = ("__light_", "fns-candy")

# Of these, those with hundreds of megabytes of weights or very large images.
SLOW = ("vgg19", "zfnet512", "alexnet", "fns-candy")


def _listed(path: Path) -> object:
    slow = any(part in path.name for part in SLOW)
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if slow else [])


# Why a model is refused: an error, and words of its sentence that were found to be true by looking at the model.
REFUSED = {
    # An operator of onnxruntime-extensions, which are not installed.
    "superresolution_with_pre_post": (ModelError, r"com\.microsoft\.extensions:DecodeImage"),
    # One site each, or one that can be removed beside those that cannot; a network without any would be linear.
    "conv_add_relu": (TargetError, "one activation always stays"),
    "conv_relu_fp16": (TargetError, "one activation always stays"),
    # An opset import in a model of IR 1, which the standard does not allow.
    "starry-night-fp16": (ModelError, "IR version < 3 cannot have opset_import"),
    # Sound of any length.
    "silero_vad_16k": (DataError, r"needs the size of every axis, but input 'input' is \(batch, sequence\)"),
    # A class label, and probabilities as a sequence of maps: no tensor that says how far an output moved.
    "squeezenet_tensor_input": (ModelError, "Output 'loss' .* is no tensor but a sequence"),
    # Open sizes; a transposed convolution inside fixes 720 x 720, and nothing in the file says so.
    "freeDimInput": (DataError, "Synthetic data needs the size of every axis"),
}


@pytest.fixture(autouse=True)
def no_latency(monkeypatch):
    """Latencies are of no interest here, and take seconds for every network."""
    monkeypatch.setattr(outcome, "measured_speeds", lambda inputs, models: [speed_of() for _ in models])


@pytest.mark.skipif(not FILES, reason="the corpus of real models, ../shared/corpus, is not there")
def test_the_corpus_is_there():
    assert len(FILES) >= 24
    assert all(any(part in path.name for path in FILES) for part in REFUSED)


@pytest.mark.parametrize("path", [_listed(path) for path in FILES])
def test_every_model_is_done_or_refused_for_a_true_reason(path, tmp_path):
    before = path.read_bytes()
    error, words = next((given for part, given in REFUSED.items() if part in path.name), (None, ""))
    if error in (ModelError, DataError):
        with pytest.raises(error, match=words):
            optimize(path, **QUICK)
    else:
        target = 0.95 if any(part in path.name for part in LARGE) else 0.7
        result = optimize(path, **QUICK | {"target_relus": target})
        if error is not None:
            assert isinstance(result.error, error)
            assert words in str(result.error)
            assert result.model is None
        else:
            result = made(result)
            assert result.report.optimized.relus <= target * result.report.original.relus
            assert not result.report.verdict.validated
            result.save(tmp_path / "small.onnx")
            passed = checks(onnx.load(tmp_path / "small.onnx"), onnx.load(path))
            assert any(name.startswith("onnxruntime") for name in passed)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_done_or_refused_for_a_true_reason(name, tmp_path):
    kind = KINDS[name]
    model = kind.build()
    path = tmp_path / f"{name}.onnx"
    onnx.save(model, path)
    if kind.refused is not None:
        with pytest.raises(ModelError, match=kind.refused):
            optimize(path, **QUICK)
        return
    assert sum(site.refusal is None for site in analyze(model).sites) == kind.removable
    result = optimize(path, **QUICK | {"calib_samples": 40, "correction": True})
    result = made(result)
    assert result.report.optimized.relus <= 0.7 * result.report.original.relus
    passed = checks(result.model, model)
    assert "onnx.checker" in passed
    assert ("onnx.reference" in passed) == (name != "contrib-operator")
    assert [frozen(function) for function in result.model.functions] == [frozen(f) for f in model.functions]
    for op in kind.kept:
        assert ops(result.model).count(op) == ops(model).count(op) > 0


@pytest.mark.parametrize("name", ["qdq", "if", "generator"])
def test_odd_kinds_can_be_swept_and_searched(name, tmp_path):
    model = KINDS[name].build()
    path = tmp_path / f"{name}.onnx"
    onnx.save(model, path)
    result = optimize(path, target_relus=0.7, calib_samples=20, cache=False)
    result = made(result)
    assert result.plan.damage is not None
    assert all(error < 1 for error in result.report.fidelity.relative_error.values())
    assert "onnxruntime, with and without optimizations" in checks(result.model, model)


@pytest.mark.parametrize("options", [{"granularity": "channel", "polynomials": True}, {"granularity": "pixel"}])
@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.refused is None])
def test_every_kind_may_keep_its_activations_in_part(name, options, tmp_path):
    model = KINDS[name].build()
    path = tmp_path / f"{name}.onnx"
    onnx.save(model, path)
    result = optimize(path, **QUICK | {"calib_samples": 40, "correction": True, "target_relus": 0.6}, **options)
    result = made(result)
    assert result.report.optimized.relus <= 0.6 * result.report.original.relus
    assert "onnx.checker" in checks(result.model, model)
    assert [frozen(function) for function in result.model.functions] == [frozen(f) for f in model.functions]


# Small models of the corpus whose activations can be kept in part, one of them with its channels on the last axis.
SMALL = ("cnn_mnist_pytorch", "nhwc_conv_clip_relu", "NVIDIA__residual_block")


@pytest.mark.parametrize("form", [{"granularity": "channel"}, {"granularity": "channel", "mask_form": "prelu"}])
@pytest.mark.parametrize("path", [_listed(path) for path in FILES if any(part in path.name for part in SMALL)])
def test_models_keep_their_activations_in_part(path, form, tmp_path):
    result = optimize(path, **QUICK | {"target_relus": 0.6}, **form)
    result = made(result)
    assert "mask" in {candidate.action for candidate in result.plan.candidates}
    assert result.report.optimized.relus <= 0.6 * result.report.original.relus
    result.save(tmp_path / "small.onnx")
    assert any(name.startswith("onnxruntime") for name in checks(onnx.load(tmp_path / "small.onnx"), onnx.load(path)))
