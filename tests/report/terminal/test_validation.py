from onnxshallow.report.schema.reports import ValidationReport
from onnxshallow.report.terminal.validation import print_validation
from onnxshallow.validation.classes import Changed
from onnxshallow.validation.compare import Accuracy
from onnxshallow.validation.gates import Gate
from onnxshallow.validation.outputs import OutputDifference
from onnxshallow.validation.user_metric import MetricResult
from tests.report.schema.test_reports import FIDELITY, FILE, VERDICT, changed

ACCURACY = Accuracy(top1=0.875, top5=None, top1_interval=(0.8, 0.9), samples=8)


def test_a_validation(capsys):
    def validation(first, second):
        return ValidationReport(
            original=FILE, optimized=FILE, original_accuracy=first, optimized_accuracy=second,
            fidelity=changed(FIDELITY, agreement=None), verdict=VERDICT,
        )  # fmt: skip

    print_validation(validation(ACCURACY, ACCURACY))
    text = capsys.readouterr().out
    assert "87.50" in text
    assert "80.00 to 90.00" in text
    assert "top-5" not in text
    assert "same class" not in text
    print_validation(validation(None, None))
    assert capsys.readouterr().out.startswith("Against the original on 3 samples of a.npz: relative error of 'y'")


FIDELITY_OF_TWO = changed(
    FIDELITY,
    outputs=(
        OutputDifference(
            name="\x1by", shape=(3,), relative_error=0.25, cosine=0.5, psnr_db=20.25, max_error=1.5, worst_sample=7,
            worst_error=0.75,
        ),
        OutputDifference(name="i", shape=(), equal=0.5),
    ),
)  # fmt: skip


def test_a_validation_in_full(capsys):
    print_validation(
        ValidationReport(
            original=FILE, optimized=FILE, original_accuracy=None, optimized_accuracy=None, fidelity=FIDELITY_OF_TWO,
            verdict=changed(VERDICT, reasons=["a remark"], line="Goal met: a fact."),
            changed=tuple(
                Changed(
                    index=5, name=name, label=None, original=1, optimized=optimized, original_score=None,
                    optimized_score=None,
                )
                for name, optimized in (("a/\nb.png", 2), (None, None))
            ),
            changed_total=2,
            gates=[
                Gate(name="max-drop", limit=0.05, value=0.01, met=True, default=True),
                Gate(name="min-agreement", limit=0.9, value=0.95, met=True, default=False),
                Gate(name="min-agreement", limit=0.9, value=0.5, met=False, default=False),
                Gate(name="max-error", limit=0.1, value=0.25, met=False, default=False),
            ],
            metrics=[
                MetricResult(
                    name="own.py:f", original=1, optimized=2, difference=1, difference_interval=interval, samples=3
                )
                for interval in (None, (0.5, 1.5))
            ],
        )
    )  # fmt: skip
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert ["\\x1by", "0.2500", "0.5000", "20.2500", "1.5000", "7", "(0.7500)"] in lines
    assert ["i", "50.00", "-"] in lines
    assert ["own.py:f", "1.0000", "2.0000", "1.0000", "-"] in lines
    assert ["own.py:f", "1.0000", "2.0000", "1.0000", "0.5000", "to", "1.5000"] in lines
    for words in (
        "2 samples changed their class, the surest first: a/\\nb.png (1 -> 2), 5 (1 -> none).\n",
        "--max-drop holds: 0.0100 <= 0.05, the default.\n",
        "--min-agreement holds: 0.9500 >= 0.9.\n",
        "--min-agreement IS BROKEN: 0.5000 < 0.9.\n",
        "--max-error IS BROKEN: 0.2500 > 0.1.\n",
        "Note: a remark.\nGoal met: a fact.\n",
    ):
        assert words in text
