import math

import numpy as np
import pytest

from onnxshallow.data.columns import ArrayColumn
from onnxshallow.data.samples import Samples
from onnxshallow.errors import DataError, ModelError
from onnxshallow.validation.compare import Comparison, Fidelity, Loss, Recorded, compare_models
from onnxshallow.validation.metrics import kl_divergence
from onnxshallow.validation.outputs import OutputDifference


class Says:
    """A stand-in for a session that gives prepared outputs, batch by batch."""

    def __init__(self, *batches, names=("y",)):
        self.batches = iter(batches)
        self.output_names = names
        largest = [values if isinstance(values, np.ndarray) else max(values, key=np.size) for values in batches]
        self.sizes = [len(values) if np.ndim(values) else 1 for values in largest]

    def run(self, feeds, outputs=None):
        assert outputs is None or tuple(outputs) == self.output_names
        values = next(self.batches)
        return values if isinstance(values, list) else [values]


def batches(*labels):
    return [({"x": np.zeros(1)}, None if one is None else np.array(one)) for one in labels]


def compare(first, second, given, **options):
    """`compare_models` on batches of as many samples as the first's outputs have."""
    sizes = getattr(first, "sizes", None) or second.sizes
    feeds = [({"x": np.zeros(size)}, labels) for size, (_, labels) in zip(sizes, given, strict=True)]
    return compare_models(first, second, feeds, **options)


def one_hot(classes, count=6):
    return 4 * np.eye(count, dtype=np.float32)[classes]


def scores(seed, samples=8, classes=6):
    return np.random.default_rng(seed).normal(size=(samples, classes)).astype(np.float32)


def test_equal_outputs():
    comparison = compare(Says(scores(0)), Says(scores(0)), batches(None))
    assert comparison.first is comparison.second is comparison.mcnemar is comparison.drop_interval is None
    fidelity = comparison.fidelity
    assert (fidelity.samples, fidelity.agreement, fidelity.relative_error) == (8, 1.0, {"y": 0.0})
    assert fidelity.kl == pytest.approx(0, abs=1e-9)
    assert comparison.loss.value == 0


def test_batches_add_up():
    first, second = scores(0, 10), scores(1, 10)
    whole = compare(Says(first), Says(second), batches(None)).fidelity
    parts = compare(Says(first[:7], first[7:]), Says(second[:7], second[7:]), batches(None, None)).fidelity
    assert parts.samples == whole.samples == 10
    assert parts.agreement == whole.agreement == np.mean(first.argmax(1) == second.argmax(1))
    assert parts.kl == pytest.approx(whole.kl) == pytest.approx(float(kl_divergence(first, second).mean()))
    expected = np.linalg.norm(first - second) / np.linalg.norm(first)
    assert parts.relative_error["y"] == pytest.approx(expected)


def test_accuracies_and_what_is_lost():
    comparison = compare(Says(one_hot([0, 1, 2, 3])), Says(one_hot([0, 1, 0, 0])), batches([0, 1, 2, 5]))
    assert (comparison.first.top1, comparison.second.top1) == (0.75, 0.5)
    assert comparison.first.samples == 4
    assert comparison.first.top1_interval[0] < 0.75 < comparison.first.top1_interval[1]
    assert comparison.loss == Loss(0.25, "accuracy")
    assert comparison.drop_interval[0] <= 0.25 <= comparison.drop_interval[1]
    assert comparison.mcnemar.p_value == 1


def test_a_better_model_loses_less_than_nothing():
    comparison = compare(Says(one_hot([1, 1])), Says(one_hot([0, 1])), batches([0, 1]))
    assert comparison.loss.value == -0.5


@pytest.mark.parametrize(("classes", "known"), [(5, False), (6, True)])
def test_top5_means_something_from_six_classes_on(classes, known):
    values = scores(0, classes=classes)
    comparison = compare(Says(values), Says(values), batches(np.zeros(8, int)))
    assert (comparison.first.top5 is not None) == known


def test_without_labels_disagreement_is_what_is_lost():
    comparison = compare(Says(one_hot([0, 1, 2, 3])), Says(one_hot([0, 1, 2, 4])), batches(None))
    assert comparison.loss == Loss(0.25, "agreement with the original")
    assert comparison.accuracy_lost is None


@pytest.mark.parametrize("shape", [(4, 1), (4,), (4, 3, 5, 5)])
def test_without_classes_nothing_is_known_but_the_error(shape):
    values = np.ones(shape, np.float32)
    comparison = compare(Says(values), Says(1.5 * values), batches([0] * 4))
    assert comparison.fidelity.agreement is comparison.fidelity.kl is comparison.first is None
    assert comparison.loss == Loss(0.5, "output precision")
    assert comparison.fidelity.relative_error == {"y": 0.5}
    assert comparison.fidelity.samples == 4


def test_the_first_output_with_classes_is_the_prediction():
    outputs = [np.ones((2, 3, 4, 4), np.float32), one_hot([0, 1]), one_hot([5, 5])]
    changed = [*outputs[:2], one_hot([4, 4])]
    names = ("map", "class", "other")
    comparison = compare(Says(outputs, names=names), Says(changed, names=names), batches([0, 1]))
    assert comparison.first.top1 == comparison.fidelity.agreement == 1
    assert comparison.fidelity.relative_error["class"] == 0
    assert comparison.fidelity.relative_error["other"] > 0


def test_whole_numbers_are_not_compared():
    outputs = [np.arange(4).reshape(2, 2), one_hot([0, 1])]
    comparison = compare(Says(outputs, names=("i", "y")), Says(outputs, names=("i", "y")), batches(None))
    assert set(comparison.fidelity.relative_error) == {"y"}


def test_half_precision_is_summed_in_double():
    values = np.full((3, 4), 300, np.float16)
    comparison = compare(Says(values), Says(values + np.float16(3)), batches(None))
    assert comparison.fidelity.relative_error["y"] == pytest.approx(0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_outputs_that_are_no_numbers_never_agree(bad):
    good, broken = one_hot([0, 1]), one_hot([0, 1])
    broken[0] = bad
    comparison = compare(Says(good, good), Says(broken, good), batches(None, None))
    assert comparison.fidelity.agreement == 0.75
    assert comparison.fidelity.kl == math.inf
    assert comparison.fidelity.relative_error["y"] == math.inf


def test_an_original_of_zeros_has_no_relative_error():
    zeros = np.zeros((2, 1), np.float32)
    assert compare(Says(zeros), Says(zeros), batches(None)).fidelity.relative_error["y"] == 0
    assert compare(Says(zeros), Says(zeros + 1), batches(None)).fidelity.relative_error["y"] == math.inf


def test_labels_of_other_classes_are_an_error():
    with pytest.raises(DataError, match="6 classes"):
        compare(Says(scores(0, 2)), Says(scores(0, 2)), batches([0, 6]))


def test_outputs_of_other_shapes_are_an_error():
    with pytest.raises(ModelError, match="'y'"):
        compare(Says(scores(0, 2)), Says(scores(0, 2, 1)), batches(None))


# A model whose outputs are kept.


class Doubles:
    """A stand-in for a session that says the double of its input, and how often it was asked."""

    output_names = ("y",)

    def __init__(self):
        self.asked = 0

    def run(self, feeds, outputs=None):
        self.asked += 1
        return [2 * feeds["x"]]


def test_a_recorded_model_says_what_the_model_says_in_every_pass():
    recorded = Recorded(Doubles(), 3)
    for _ in range(3):
        said = [recorded.run({"x": np.array([number])}) for number in (1, 5, 7)]
        assert [value.tolist() for (value,) in said] == [[2], [10], [14]]


def test_a_recorded_model_runs_once_a_batch():
    model = Doubles()
    recorded = Recorded(model, 2)
    for number in range(6):
        recorded.run({"x": np.array([number % 2])})
        assert model.asked == min(number + 1, 2)


def test_a_recorded_model_runs_no_sooner_than_it_is_asked():
    model = Doubles()
    assert Recorded(model, 2).output_names == ("y",)
    assert model.asked == 0


def test_comparisons_with_a_recorded_model_are_those_with_the_model():
    original = [one_hot([0, 1, 2]), scores(1, 5)]
    others = [[scores(seed, 3), scores(seed + 9, 5)] for seed in range(3)]
    labels = batches([0, 1, 3], [5, 4, 3, 2, 1])
    recorded = Recorded(Says(*original), 2)
    for other in others:
        expected = compare(Says(*original), Says(*other), labels)
        assert compare(recorded, Says(*other), labels) == expected


# What is said of classes and samples.


def test_a_masked_class_is_no_difference():
    first, second = scores(0), scores(0)
    first[:, 2] = second[:, 2] = -math.inf
    fidelity = compare(Says(first), Says(second), batches(None)).fidelity
    assert (fidelity.agreement, fidelity.relative_error) == (1.0, {"y": 0.0})
    assert fidelity.kl == pytest.approx(0, abs=1e-9)


def test_a_class_that_only_one_masks_is_a_finite_divergence():
    first, second = scores(0), scores(0)
    second[:, 2] = -math.inf
    fidelity = compare(Says(first), Says(second), batches(None)).fidelity
    assert 0 < fidelity.kl < 28
    assert fidelity.relative_error == {"y": math.inf}


def test_changes_are_listed():
    comparison = compare(
        Says(one_hot([0, 1]), one_hot([2])), Says(one_hot([0, 2]), one_hot([3])), batches([0, 1], [2])
    )
    assert comparison.changed_total == 2
    assert [(one.index, one.label, one.optimized) for one in comparison.changed] == [(1, 1, 2), (2, 2, 3)]
    assert [one.label for one in comparison.classes] == [0, 1, 2]


def test_every_output_is_compared():
    first, second = [np.arange(4).reshape(2, 2), one_hot([0, 1])], [np.zeros((2, 2), int), one_hot([0, 1])]
    comparison = compare(Says(first, names=("i", "y")), Says(second, names=("i", "y")), batches(None))
    integers, floats = comparison.fidelity.outputs
    assert (integers.name, integers.equal, floats.name, floats.relative_error) == ("i", 0.25, "y", 0.0)


def test_classes_say_how_many_samples_there_are():
    """Where the first output is one number for the batch."""
    first, second = [np.array(1.0), one_hot([0, 1, 2])], [np.array(2.0), one_hot([0, 1, 3])]
    comparison = compare(Says(first, names=("a", "y")), Says(second, names=("a", "y")), batches(None))
    assert (comparison.fidelity.samples, comparison.fidelity.agreement) == (3, pytest.approx(2 / 3))


def test_sequences_are_an_error():
    with pytest.raises(ModelError, match="'s' is no tensor"):
        compare(Says([[one_hot([0])]], names=("s",)), Says([[one_hot([0])]], names=("s",)), batches(None))


def test_an_output_that_is_not_batch_first_is_no_prediction():
    """Though it may look like class scores, and have more rows than there are samples."""
    feeds = [({"x": np.zeros(4)}, None)]
    flat, transposed = scores(0, 24, 1)[:, 0], scores(0, 6, 4)
    for output in (flat, transposed):
        comparison = compare_models(Says(output), Says(output + 1), feeds)
        assert (comparison.fidelity.samples, comparison.fidelity.agreement) == (4, None)
        assert comparison.fidelity.outputs[0].worst_sample is None


@pytest.mark.parametrize(("changed", "total"), [(1, 100), (5, 100), (15, 100), (3, 10), (6, 40)])
def test_a_share_is_compared_without_the_noise_of_subtraction(changed, total):
    after = np.zeros(total, int)
    after[:changed] = 1
    comparison = compare(Says(one_hot(np.zeros(total, int))), Says(one_hot(after)), batches(None))
    assert comparison.loss.value == changed / total
    labels = np.zeros(total, int)
    comparison = compare(Says(one_hot(labels)), Says(one_hot(after)), batches(labels))
    assert comparison.loss.value == changed / total


def test_without_classes_the_worst_output_is_what_is_lost_whatever_its_type():
    first, second = (
        [np.arange(4).reshape(4, 1), np.ones((4, 1), np.float32)],
        [np.zeros((4, 1), int), np.ones((4, 1))],
    )
    comparison = compare(Says(first, names=("i", "y")), Says(second, names=("i", "y")), batches(None))
    assert comparison.fidelity.error == Loss(0.75, "share of unequal elements of 'i'")
    assert comparison.loss.value == 0.75


def test_samples_are_named_by_their_place_in_the_source():
    first, second = one_hot([0, 1, 2]), one_hot([0, 1, 5])
    samples = Samples({"x": ArrayColumn(np.zeros((10, 1)), np.dtype(np.float32))}, "a.npz").take([4, 9, 6])
    comparison = compare(Says(first), Says(second), batches(None)).located_in(samples)
    (output,), (change,) = comparison.fidelity.outputs, comparison.changed
    assert (output.worst_sample, change.index, change.name) == (6, 6, None)
    assert (change.original, change.optimized) == (2, 5)
    assert comparison.fidelity.source == "a.npz"


def test_what_has_no_worst_sample_stays_without():
    samples = Samples({"x": ArrayColumn(np.zeros((10, 1)), np.dtype(np.float32))}, "a.npz").take([4, 9, 6])
    comparison = compare(Says(one_hot([0, 1, 2])), Says(one_hot([0, 1, 2])), batches(None)).located_in(samples)
    assert comparison.fidelity.outputs[0].worst_sample is None
    assert comparison.changed == ()


def on(source, error, agreement=0.9):
    output = OutputDifference(name="y", shape=(2,), relative_error=error)
    fidelity = Fidelity(
        samples=4, source=source, agreement=agreement, kl=0.1, relative_error={"y": error}, outputs=(output,)
    )
    return Comparison(None, None, fidelity)


def test_of_several_sorts_of_samples_the_worst_speaks_and_all_are_listed():
    found = on("leaves", 0.1).with_others(
        {"noise": on("synthetic noise", 0.3, 0.8), "waves": on("synthetic waves", 0.2)}
    )
    assert (found.fidelity.source, found.loss.value) == ("synthetic noise", 0.2)
    assert [(sort.name, sort.error) for sort in found.fidelity.sorts] == [
        ("leaves", 0.1),
        ("noise", 0.3),
        ("waves", 0.2),
    ]
    assert found.fidelity.sorts[1].agreement == 0.8


def test_real_samples_have_no_sorts():
    comparison = on("data.npz", 0.1)
    assert comparison.with_others({}) is comparison
