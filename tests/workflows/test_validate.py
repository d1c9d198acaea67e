import numpy as np
import onnx
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.sources import load_samples
from onnxshallow.errors import DataError, ModelError, UsageError
from onnxshallow.model.network import Network
from onnxshallow.options.config import Config
from onnxshallow.runtime.progress import Silent
from onnxshallow.validation.growth import BOUND
from onnxshallow.workflows.validate import load_models, validate
from tests.graphs import run_plain
from tests.networks import build, smooth
from tests.partials import with_partial
from tests.runs import NET, NET_WEIGHTS, flipped, net, save_case


def compared(folder, second=None, first=None, labels=None, arrays=None, **options):
    model, data = save_case(folder, first, labels, **(arrays or {}))
    other = folder / "other.onnx"
    onnx.save(second if second is not None else net(), other)
    return validate(model, other, config=Config(validate_data=str(data), **options))


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


def test_without_a_gate_the_default_counts(tmp_path):
    equal = compared(tmp_path)
    assert (equal.verdict.status, equal.verdict.exit_code) == ("met", 0)
    assert equal.verdict.line == "Goal met: 0.00 points of agreement with the original lost, of at most 5 (default)."
    (gate,) = equal.gates
    assert (gate.name, gate.value, gate.met, gate.default) == ("max-drop", 0.0, True, True)
    damaged = compared(tmp_path, flipped(net(), "w3"))
    assert (damaged.verdict.status, damaged.verdict.exit_code) == ("accuracy", 4)
    assert "more than --max-drop 0.05, the default, allows" in damaged.verdict.reasons[0]
    assert damaged.verdict.line == f"Not met: {damaged.verdict.reasons[0]}"


def test_every_gate_that_is_broken_is_told(tmp_path):
    report = compared(tmp_path, flipped(net(), "w3"), max_drop=0, min_agreement=1, max_error=0)
    assert [gate.met for gate in report.gates] == [False] * 3
    for reason, words in zip(report.verdict.reasons, ("--max-drop", "--min-agreement", "--max-error"), strict=True):
        assert words in reason


def test_outputs_that_are_no_numbers_break_the_default(tmp_path):
    ruined = net()
    next(t for t in ruined.graph.initializer if t.name == "b3").CopyFrom(
        onnx.numpy_helper.from_array(np.array([np.inf] * 6, np.float32), "b3")
    )
    report = compared(tmp_path, ruined)
    assert report.verdict.exit_code == 4
    assert report.verdict.reasons[0] == "Output 'y' of the optimized model is NaN or infinite for 40 of 40 samples."
    assert report.fidelity.outputs[0].not_finite == 40


def test_models_without_floats_are_compared(tmp_path):
    text = "(float[N,3,6,6] x) => (int64[N,6,6] i) { s = Mul(x, w)\n i = ArgMax<axis=1, keepdims=0>(s) }"
    good, other = (build(text, w=np.full(1, value, np.float32)) for value in (1, -1))
    assert compared(tmp_path, good, good).verdict.status == "met"
    report = compared(tmp_path, other, good)
    assert report.verdict.status == "accuracy"
    assert "100.00 points of agreement with the original at the pixels of 'i' are lost" in report.verdict.reasons[0]
    assert report.fidelity.outputs[0].equal == pytest.approx(1 - report.gates[0].value)
    with pytest.raises(UsageError, match="--min-agreement needs an output that tells classes"):
        compared(tmp_path, good, good, min_agreement=0.5)


def squaring(square, model=None):
    """The network with a parabola in the place of one of its activations."""
    model = model if model is not None else net()
    (site,) = (site for site in analyze(model).sites if site.output == "r1")
    none, ones = np.zeros(4, bool), np.ones(4)
    return with_partial(model, site, none, square=square * ones, linear=0.5 * ones, constant=0.1 * ones)


def test_a_network_that_explodes_is_refused_whatever_else_it_keeps(tmp_path):
    report = compared(tmp_path, squaring(30.0), max_error=1e9, max_drop=1)
    assert all(gate.met for gate in report.gates)
    assert (report.verdict.status, report.verdict.exit_code) == ("accuracy", 4)
    assert report.verdict.line.startswith("Not met: It is not stable: on samples")
    worst = report.stability.worst
    assert worst.factor > 100
    assert f"the activations of {worst.site!r} grow to {worst.factor:.3g} times the original's" in report.verdict.line


def test_one_sample_in_many_on_which_it_explodes_is_enough(tmp_path):
    x = smooth(300, 3, 6)
    for times, status in ((1, "met"), (100, "accuracy")):
        x[211] *= times
        report = compared(tmp_path, squaring(0.02), arrays={"x": x}, max_drop=1)
        assert (report.stability.growth[0].samples, report.stability.growth[0].count) == ("samples", 300)
        assert report.verdict.status == status
        assert (report.stability.growth[0].factor > BOUND) == (status == "accuracy")


def test_how_far_activations_grow_is_in_the_line(tmp_path):
    report = compared(tmp_path, squaring(0.02), max_drop=1)
    assert report.verdict.status == "met"
    assert report.verdict.line.endswith(f", activations up to {report.stability.worst.factor:.2g}x the original's.")
    assert {found.site for found in report.stability.ranges} == {"r0", "r1", "r2", "y"}


def test_only_what_squares_more_than_the_original_is_looked_at(tmp_path):
    assert compared(tmp_path).stability is None
    assert compared(tmp_path, squaring(0.03), squaring(0.02), max_drop=1).stability is None


def test_the_worst_sample_is_one_of_the_source(tmp_path):
    """Also where only some of its samples are used."""
    inputs = np.zeros((40, 3, 6, 6), np.float32)
    inputs[:] = np.linspace(2, 1, 40)[:, None, None, None]
    text = "(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Sub(x, b) }"
    good, moved = (build(text, b=np.full(1, value, np.float32)) for value in (0, 0.5))
    report = compared(tmp_path, moved, good, arrays={"x": inputs}, validate_samples=8, max_error=1)
    drawn = load_samples(str(tmp_path / "data.npz"), Network(good).inputs, Preprocessing(), limit=8, seed=0).selection
    assert drawn[-1] > len(drawn)
    assert report.fidelity.outputs[0].worst_sample == drawn[-1]


def test_changes_are_told_by_sample_and_class(tmp_path):
    inputs = smooth(40, 3, 6)
    before, after = (run_plain(model, {"x": inputs})[0].argmax(axis=1) for model in (net(), flipped(net(), "w3")))
    report = compared(tmp_path, flipped(net(), "w3"), arrays={"x": inputs}, max_drop=1)
    assert report.changed_total == len(report.changed) == np.sum(before != after)
    assert all((one.original, one.optimized) == (before[one.index], after[one.index]) for one in report.changed)
    assert {one.label: one.samples for one in report.classes} == {
        label: np.sum(before == label) for label in set(before.tolist())
    }


def test_models_that_fix_other_batches_or_sizes(tmp_path):
    fixed, wrong = (build(NET.replace("[N,3,6,6]", shape), **NET_WEIGHTS) for shape in ("[4,3,6,6]", "[N,3,8,8]"))
    assert compared(tmp_path, fixed, max_drop=0).fidelity.samples == 40
    with pytest.raises(ModelError, match="'x' is N x 3 x 6 x 6 in the one and N x 3 x 8 x 8 in the other"):
        compared(tmp_path, wrong)


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.mark.parametrize(("samples", "notes"), [(1024, 1), (1000, 0)])
def test_long_sets_have_a_first_answer(tmp_path, samples, notes):
    model, data = save_case(tmp_path, x=smooth(samples, 3, 6), labels=np.zeros(samples, int))
    progress = Notes()
    validate(model, model, config=Config(validate_data=str(data)), progress=progress)
    assert len(progress.said) == notes
    if notes:
        assert progress.said[0].startswith("After 256 of 1024 samples: top-1 ")
        assert "same class for 100.0 %" in progress.said[0]


def test_growth_is_looked_for_where_sizes_are_known_from_the_samples_alone(tmp_path):
    """An axis that the network leaves open would count as no squares at all."""
    text = NET.replace("float[N,3,6,6]", "float[N,3,H,W]")
    squared = build(text.replace("Relu(h1)", "Mul(h1, h1)"), **NET_WEIGHTS)
    report = compared(tmp_path, squared, build(text, **NET_WEIGHTS), arrays={"x": smooth(16, 3, 6)})
    first = report.stability.growth[0]
    assert (first.samples, first.count) == ("samples", 16)


def test_gates_that_cannot_be_checked_are_told_early(tmp_path, monkeypatch):
    proto = build("(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Relu(x) }")
    model, data = save_case(tmp_path, proto, x=smooth(1024, 3, 6))
    seen = []
    monkeypatch.setattr(
        "onnxshallow.workflows.validate.counted", lambda items, step: (seen.append(1) or i for i in items)
    )
    with pytest.raises(UsageError, match="--min-agreement"):
        validate(model, model, config=Config(validate_data=str(data), min_agreement=0.5))
    assert len(seen) == 256 / 64


def test_the_users_metrics_are_reported(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("def best(outputs, labels): return outputs['y'].max(axis=1)\n")
    model, data = save_case(tmp_path)
    (found,) = validate(model, model, metrics=[f"{own}:best"], config=Config(validate_data=str(data))).metrics
    expected = run_plain(net(), {"x": smooth(40, 3, 6)})[0].max(axis=1).mean()
    assert (found.original, found.samples) == (pytest.approx(expected, rel=1e-4), 40)
    assert (found.difference, found.difference_interval) == (0, (0, 0))


def test_data_are_needed(tmp_path):
    model, _ = save_case(tmp_path)
    with pytest.raises(UsageError, match="--data"):
        validate(model, model, config=Config())


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


def test_sizes_of_an_input_without_a_batch_are_those_of_the_file(tmp_path):
    """As in `optimize`, which works on such a network by one sample a run."""
    text = NET.replace("[N,3,6,6]", "[3,H,W]").replace("Conv<pads=[1,1,1,1]>(x,", "Conv<pads=[1,1,1,1]>(q,")
    text = text.replace("{", "{ q = Unsqueeze(x, z)", 1)
    network = build(text, **NET_WEIGHTS, z=np.zeros(1, np.int64))
    report = compared(tmp_path, network, network, input_shape={"x": (3, 6, 6)}, max_drop=0)
    assert (report.verdict.status, report.fidelity.samples) == ("met", 40)


def test_samples_that_fill_no_batch_are_told(tmp_path):
    fixed = build(NET.replace("[N,3,6,6]", "[16,3,6,6]"), **NET_WEIGHTS)
    report = compared(tmp_path, fixed, fixed, max_drop=0)
    assert report.fidelity.samples == 32
    assert any(reason.startswith("8 of 40 samples of ") for reason in report.verdict.reasons)


def test_two_models_are_compared_from_python(tmp_path):
    model, inputs = net(), smooth(40, 3, 6)
    report = validate(model, model, inputs, metrics=[lambda outputs, labels: outputs["y"].max(axis=1)])
    assert (report.verdict.exit_code, report.fidelity.samples, report.fidelity.agreement) == (0, 40, 1.0)
    assert report.metrics[0].difference == 0
    assert report.metrics[0].name == "<lambda>"
    onnx.save(model, tmp_path / "net.onnx")
    assert validate(tmp_path / "net.onnx", model, {"x": inputs}, max_drop=0).verdict.status == "met"
    with pytest.raises(UsageError, match="one and the same"):
        validate(model, model, inputs, validate="data.npz")
