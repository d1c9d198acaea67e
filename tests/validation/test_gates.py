import math
from dataclasses import replace

import pytest

from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config
from onnxshallow.validation.compare import Accuracy, Comparison, Fidelity
from onnxshallow.validation.gates import Gate, Limits, check_gates, gate_findings
from onnxshallow.validation.outputs import OutputDifference

FLOATS = OutputDifference("y", (3,), relative_error=0.2)
SMALL = OutputDifference("y", (3,), relative_error=0.012)
WORSE = OutputDifference("z", (3,), relative_error=0.4)
INTEGERS = OutputDifference("i", (3,), equal=0.75)


def classes(agreement, name="y"):
    return OutputDifference(name, (3,), relative_error=0.2, kind="classes", agreement=agreement)


def bounded(error=0.2, kind="embedding", **figures):
    """An output of which it is known how far off it may be on other samples."""
    kind = kind if figures else None
    return OutputDifference("y", (3,), relative_error=0.2, relative_error_bound=error, kind=kind, **figures)


def compared(*outputs, agreement=None, accuracies=None, interval=None, samples=8):
    outputs = outputs or (FLOATS if agreement is None else classes(agreement),)
    models = [None if accuracies is None else Accuracy(top1, None, (0.0, 1.0), 8) for top1 in accuracies or (0, 0)]
    fidelity = Fidelity(samples=samples, agreement=agreement, kl=None, relative_error={}, outputs=outputs)
    return Comparison(*models, fidelity, drop_interval=interval)


def found(comparison, advice="", **limits):
    """What is known by the gates, and whether it refuses."""
    findings = gate_findings(comparison, check_gates(comparison, Limits(**limits)), advice)
    assert {finding.about for finding in findings} <= {"accuracy", "data"}
    return [(finding.text, finding.refuses) for finding in findings]


def broken(comparison, **limits):
    """Names of the gates that are not met."""
    return [gate.name for gate in check_gates(comparison, Limits(**limits)) if not gate.met]


@pytest.mark.parametrize(
    ("limits", "names"),
    [
        ({"max_drop": 0.125}, []),
        ({"max_drop": 0.12}, ["max-drop"]),
        ({"min_agreement": 0.75}, []),
        ({"min_agreement": 0.8}, ["min-agreement"]),
        ({"max_error": 0.2}, []),
        ({"max_error": 0.1}, ["max-error"]),
        ({"max_drop": 0.1, "min_agreement": 0.5, "max_error": 0.1}, ["max-drop", "max-error"]),
    ],
)
def test_each_gate_is_checked(limits, names):
    comparison = compared(agreement=0.75, accuracies=(0.875, 0.75))
    assert broken(comparison, **limits) == names


def test_without_labels_disagreement_is_the_drop():
    (gate,) = check_gates(compared(agreement=0.75), Limits(max_drop=0.2))
    assert (gate.value, gate.met) == (0.25, False)
    assert gate.describe() == "25.00 points of agreement with the original are lost, more than --max-drop 0.2 allows."


def test_without_classes_the_largest_error_is_the_drop():
    (gate,) = check_gates(compared(FLOATS, WORSE), Limits(max_drop=0.3))
    assert (gate.value, gate.met) == (0.4, False)
    assert "points of output precision" in gate.describe()


def test_the_worst_output_counts_whatever_its_type():
    (gate,) = check_gates(compared(FLOATS, INTEGERS), Limits(max_error=0.22))
    assert gate.describe() == "The share of unequal elements of 'i' is 0.25, more than --max-error 0.22 allows."
    (gate,) = check_gates(compared(INTEGERS, WORSE), Limits(max_error=0.1))
    assert gate.describe() == "The relative error of 'z' is 0.4, more than --max-error 0.1 allows."


def test_an_infinite_error_is_too_large():
    assert broken(compared(OutputDifference("y", (), relative_error=math.inf)), max_error=1e9) == ["max-error"]


def test_agreement_is_told():
    (gate,) = check_gates(compared(agreement=0.75), Limits(min_agreement=0.9))
    assert gate.describe() == "75.00 % of the samples keep their class, fewer than --min-agreement 0.9 asks for."
    assert gate.describe("v.npz").startswith("75.00 % of the samples keep their class on v.npz, ")


@pytest.mark.parametrize(
    ("comparison", "name", "limit"),
    [
        (compared(agreement=0.9, accuracies=(1.0, 0.9)), "max-drop", 0.05),
        (compared(agreement=0.9), "max-drop", 0.05),
        (compared(), "max-error", 0.1),
        (compared(INTEGERS), "max-error", 0.1),
    ],
)
def test_there_is_a_gate_where_none_is_given(comparison, name, limit):
    (gate,) = check_gates(comparison, Limits())
    assert (gate.name, gate.limit, gate.met) == (name, limit, False)


def test_a_gate_that_cannot_be_checked_is_an_error():
    with pytest.raises(UsageError, match="--min-agreement needs an output that tells classes"):
        check_gates(compared(), Limits(min_agreement=0.5, max_error=1))


def test_the_default_says_that_it_is_one():
    (gate,) = check_gates(compared(agreement=0.5), Limits())
    assert gate.describe() == (
        "50.00 points of agreement with the original are lost, more than --max-drop 0.05, the default, allows; set "
        "your own with --max-drop, --min-agreement or --max-error."
    )


@pytest.mark.parametrize(
    ("comparison", "limits", "words"),
    [
        (compared(agreement=1.0), {}, "0.00 points of agreement with the original lost, of at most 5 (default)"),
        (
            compared(accuracies=(0.9, 0.89), agreement=1.0),
            {"max_drop": 0.02},
            "1.00 points of accuracy lost, of at most 2",
        ),
        (compared(FLOATS), {"max_error": 0.25}, "relative error of 'y' 0.2, of at most 0.25"),
        (compared(SMALL), {}, "relative error of 'y' 0.012, of at most 0.1 (default)"),
        (compared(agreement=0.99), {"min_agreement": 0.9}, "99.00 % of the samples keep their class, of at least 90"),
    ],
)
def test_a_gate_that_is_met_says_so_in_short(comparison, limits, words):
    (gate,) = check_gates(comparison, Limits(**limits))
    assert (gate.met, gate.in_short()) == (True, words)


def test_a_broken_gate_refuses_with_advice():
    assert found(compared(agreement=0.75), "Allow more.", max_drop=0.2) == [
        ("25.00 points of agreement with the original are lost, more than --max-drop 0.2 allows. Allow more.", True)
    ]


# What counts where no gate is given, by what outputs mean.


def of_kind(kind, name="y", **values):
    return OutputDifference(name, (3,), kind=kind, **values)


@pytest.mark.parametrize(
    ("output", "gate"),
    [
        (of_kind("regression", relative_error=0.2), ("max-error", 0.1, 0.2)),
        (of_kind("boxes", relative_error=0.2), ("max-error", 0.1, 0.2)),
        (of_kind("scores", relative_error=0.2), ("max-error", 0.1, 0.2)),
        (of_kind("embedding", relative_error=0.05, cosine=0.9), ("max-error", 0.05, 0.1)),
        (of_kind("embedding", relative_error=math.inf, cosine=math.nan), ("max-error", 0.05, math.inf)),
        (of_kind("mask", relative_error=0.2, agreement=0.9), ("max-drop", 0.05, 0.1)),
        (of_kind("mask", equal=0.9, agreement=0.9), ("max-drop", 0.05, 0.1)),
    ],
)
def test_each_kind_has_its_default(output, gate):
    (found,) = check_gates(compared(output), Limits())
    assert (found.name, found.limit, found.value, found.met, found.default) == (*gate, False, True)


def test_the_default_looks_at_every_output():
    """As of a detector whose classes survive and whose offsets do not."""
    outputs = [of_kind("boxes", "offsets", relative_error=0.6), classes(0.99, "prob")]
    comparison = compared(*outputs, agreement=0.99)
    assert broken(comparison) == ["max-error"]
    (_, gate) = check_gates(comparison, Limits())
    assert gate.describe() == (
        "The relative error of 'offsets' is 0.6, more than --max-error 0.1, the default, allows; set your own with "
        "--max-drop, --min-agreement or --max-error."
    )


@pytest.mark.parametrize("limits", [{"max_drop": 0.2}, {"min_agreement": 0.9}])
def test_a_gate_on_classes_leaves_the_default_of_the_others(limits):
    outputs = [of_kind("boxes", "offsets", relative_error=0.6), classes(0.99, "prob")]
    gates = check_gates(compared(*outputs, agreement=0.99), Limits(**limits))
    assert [(gate.met, gate.default) for gate in gates] == [(True, False), (False, True)]
    assert broken(compared(*outputs, agreement=0.99), **limits, max_error=1) == []


def test_without_classes_the_drop_is_what_each_output_means():
    outputs = [of_kind("embedding", "e", relative_error=0.4, cosine=0.92), of_kind("mask", "m", agreement=0.97)]
    (gate,) = check_gates(compared(*outputs), Limits(max_drop=0.07))
    assert gate.describe() == "8.00 points of cosine of 'e' are lost, more than --max-drop 0.07 allows."


def test_labels_that_were_not_used_are_told():
    ((text, refuses),) = found(replace(compared(), unused_labels=True), max_error=1)
    assert text.startswith("The labels were not used")
    assert not refuses


RUINED = OutputDifference("y", (3,), relative_error=math.inf, not_finite=2)
BEYOND = OutputDifference("y", (3,), relative_error=math.inf)


@pytest.mark.parametrize("limits", [{}, {"max_drop": 1.0}, {"min_agreement": 0.0}])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (RUINED, "Output 'y' of the optimized model is NaN or infinite for 2 of 1000 samples."),
        (BEYOND, "The relative error of output 'y' is infinite: the original's is zero everywhere"),
    ],
)
def test_what_is_not_finite_breaks_every_gate(limits, output, words):
    ((text, refuses),) = found(compared(output, agreement=1.0, samples=1000), **limits)
    assert refuses
    assert text.startswith(words)


@pytest.mark.parametrize(
    ("comparison", "limits", "words"),
    [
        (
            compared(agreement=1.0, samples=40),
            {},
            "By 40 samples 8.76 points may be lost, more than the gate allows (95 % interval); v",
        ),
        (compared(agreement=1.0, samples=400), {}, None),
        (compared(agreement=1.0, samples=40), {"min_agreement": 0.95}, "By 40 samples only 91.24 % may"),
        (compared(agreement=1.0, samples=400), {"min_agreement": 0.95}, None),
        (compared(agreement=1.0, accuracies=(0.9, 0.88), interval=(-0.01, 0.06)), {}, "By 8 samples 6.00 points"),
        (compared(agreement=1.0, accuracies=(0.9, 0.88), interval=(-0.01, 0.04)), {}, None),
        (compared(), {"max_error": 0.3}, None),
        (
            compared(bounded(0.31)),
            {"max_error": 0.3},
            "By 8 samples the relative error of 'y' may be 0.31, more than t",
        ),
        (compared(bounded(0.29)), {"max_error": 0.3}, None),
        (
            compared(bounded(math.inf)),
            {"max_error": 0.3},
            "One sample says nothing of the relative error of 'y' on o",
        ),
        (compared(bounded(0.31)), {"max_drop": 0.3}, "By 8 samples 31.00 points may be lost"),
        (compared(bounded(cosine=0.97, cosine_bound=0.94)), {}, "By 8 samples the lost cosine of 'y' may be 0.06"),
        (compared(bounded(kind="mask", agreement=0.96, agreement_bound=0.92)), {}, "By 8 samples 8.00 points may be"),
    ],
)
def test_too_few_samples_to_tell_are_told_and_refuse_nothing(comparison, limits, words):
    said = found(comparison, **limits)
    assert len(said) == (words is not None)
    for text, refuses in said:
        assert text.startswith(words)
        assert not refuses


@pytest.mark.parametrize("error", [0.0, 1e-6])
def test_equal_outputs_leave_no_doubt(error):
    """Nor do those that rounding moves."""
    equal = OutputDifference("y", (3,), relative_error=error)
    assert found(compared(equal, agreement=1.0)) == []


def test_gates_come_from_the_options():
    config = Config(max_drop=0.01, max_error=0.5)
    assert Limits.from_config(config) == Limits(max_drop=0.01, max_error=0.5)
    assert Limits.from_config(config).given
    assert not Limits.from_config(Config()).given


@pytest.mark.parametrize(
    ("name", "limit", "value", "times"),
    [
        ("max-drop", 0.05, 0.1, 2.0),
        ("min-agreement", 0.9, 0.7, 3.0),
        ("max-error", 0.1, 0.05, 0.5),
        ("max-drop", 0, 1, 0),
    ],
)
def test_how_many_times_what_is_allowed_is_lost(name, limit, value, times):
    assert Gate(name, limit, value, met=False).times == pytest.approx(times)
