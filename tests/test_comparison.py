import numpy as np
import onnx
import pytest

from onnxshallow.comparison import bench_files, validate_files
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


def test_bench_reports_what_it_ran(tmp_path):
    model, _ = save_case(tmp_path)
    report = bench_files(model, model, Config(threads=1), 3, 4)
    assert (report.batch_size, report.runs, report.threads) == (3, 4, 1)
    assert report.original_ms > 0
    assert report.speedup_interval[0] <= report.speedup <= report.speedup_interval[1]


def test_bench_runs_models_with_several_inputs(tmp_path):
    text = "(float[N,3] x, int64[N,2] i, float[N,3,6,6] z) => (float[N,3] y, int64[N,2] j, float[N,3,6,6] r) {"
    model, _ = save_case(tmp_path, build(text + "y = Relu(x)\n j = Identity(i)\n r = Relu(z) }"))
    assert bench_files(model, model, Config(), 2, 2).runs == 2
