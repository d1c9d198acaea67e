import numpy as np
import onnx
import pytest

from onnxshallow.comparison import load_models, validate_files
from onnxshallow.config import Config
from onnxshallow.errors import DataError, ModelError, UsageError
from onnxshallow.progress import Silent
from tests.graphs import run_plain
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, flipped, net, save_case


def compared(folder, second=None, first=None, labels=None, arrays=None, **options):
    model, data = save_case(folder, first, labels, **(arrays or {}))
    other = folder / "other.onnx"
    onnx.save(second if second is not None else net(), other)
    return validate_files(model, other, Config(validate_data=str(data), **options), Silent())


def test_equal_models_lose_nothing(tmp_path):
    report = compared(tmp_path, max_drop=0)
    assert report.verdict.status == "met"
    assert report.verdict.reasons == []
    assert report.fidelity.agreement == 1
    assert report.original_accuracy is report.verdict.accuracy_lost is report.verdict.mcnemar_p is None


def test_accuracies_are_those_of_the_labels(tmp_path):
    inputs = smooth(40, 3, 6)
    labels = run_plain(net(), {"x": inputs})[0].argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 6
    report = compared(tmp_path, flipped(net(), "w3"), labels=labels, arrays={"x": inputs})
    assert report.original_accuracy.top1 == 0.75
    assert report.verdict.accuracy_lost == 0.75 - report.optimized_accuracy.top1
    assert report.verdict.accuracy_lost_interval[0] <= report.verdict.accuracy_lost
    assert report.verdict.status == "met"


def test_a_budget_that_is_broken_says_by_how_much(tmp_path):
    report = compared(tmp_path, flipped(net(), "w3"), max_drop=0.01)
    assert (report.verdict.status, report.verdict.exit_code) == ("accuracy", 4)
    assert "--max-drop 0.01" in report.verdict.reasons[0]
    assert report.verdict.accuracy_lost is None


def test_outputs_that_are_no_numbers_break_every_budget(tmp_path):
    """Also where there are no classes, and where another output is fine."""
    text = "(float[N,3,6,6] x) => (float[N,3,6,6] r, float[N,3,6,6] s) { r = Relu(x) s = Mul(x, w) }"
    good, ruined = (build(text, w=np.full(1, value, np.float32)) for value in (1, np.inf))
    report = compared(tmp_path, ruined, good, max_drop=1)
    assert report.verdict.status == "accuracy"
    assert report.fidelity.relative_error == {"r": 0.0, "s": np.inf}


def test_data_are_needed(tmp_path):
    model, _ = save_case(tmp_path)
    with pytest.raises(UsageError, match="--data"):
        validate_files(model, model, Config(), Silent())


def test_models_with_other_inputs_cannot_be_compared(tmp_path):
    other = build(NET.replace("float[N,3,6,6] x", "float[N,3,6,6] z").replace("(x,", "(z,"), **NET_WEIGHTS)
    with pytest.raises(ModelError, match=r"inputs are \['x'\] and \['z'\]"):
        compared(tmp_path, other)


def test_a_batch_that_cannot_be_filled_is_an_error(tmp_path):
    fixed = build(NET.replace("[N,", "[4,"), **NET_WEIGHTS)
    with pytest.raises(DataError, match="exactly 4"):
        compared(tmp_path, fixed, fixed, arrays={"x": smooth(3, 3, 6)})
    assert compared(tmp_path, fixed, fixed, arrays={"x": smooth(7, 3, 6)}).fidelity.samples == 4


def test_labels_of_other_classes_are_an_error(tmp_path):
    with pytest.raises(DataError, match="6 classes"):
        compared(tmp_path, labels=np.full(40, 6))


def loaded(folder, *texts):
    """Load models, given as texts, as those that are to be compared."""
    paths = [folder / f"{n}.onnx" for n in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        onnx.save(build(text), path)
    return load_models(paths, Config())


RELU = "(float[N,3] x) => (float[N,3] y) { y = Relu(x) }"


def test_models_are_loaded_with_their_common_inputs(tmp_path):
    fixed = RELU.replace("[N,", "[2,")
    documents, (info,) = loaded(tmp_path, RELU, fixed, RELU)
    assert [document.path.name for document in documents] == ["0.onnx", "1.onnx", "2.onnx"]
    assert info.shape == (2, 3)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (RELU.replace("[N,3]", "[N,4]"), r"0\.onnx and .*2\.onnx cannot be compared: input 'x' is N x 3 .* N x 4"),
        (RELU.replace("[N,3]", "[N,3,1]"), "input 'x' is N x 3 in the one and N x 3 x 1 in the other"),
        (RELU.replace("float", "double"), "input 'x' is of type float32 in the one and float64 in the other"),
        (RELU.replace(" y)", " z)").replace("y =", "z ="), r"outputs are \['y'\] and \['z'\]"),
    ],
)
def test_what_differs_between_models_is_said(tmp_path, other, words):
    with pytest.raises(ModelError, match=words):
        loaded(tmp_path, RELU, RELU, other)
