from onnxshallow.report.markdown.summary import change_table, closeness, failed_summary, run_summary
from onnxshallow.report.schema.reports import ChangeReport
from onnxshallow.report.schema.several import Failed
from tests.report.pages import REPORT
from tests.report.schema.test_reports import FIDELITY

CHANGE = ChangeReport(
    key="k",
    action="fuse",
    sites=["r|1"],
    source="a",
    output="b",
    relus_saved=10,
    macs_saved=100,
    what="x",
    title="fuse",
)


def test_a_run_without_a_model_says_why():
    said = run_summary(REPORT)
    assert said.startswith("### onnxshallow: `a.onnx`\n")
    assert "**Not met: The target cannot be reached.** Exit code 5." in said
    assert "| ReLUs" not in said


def test_figures_and_changes_are_tables():
    said = run_summary(REPORT.model_copy(update={"optimized": REPORT.original, "changes": [CHANGE]}))
    assert "| ReLUs | 10 | 10 | 1.000 |" in said
    assert "<summary>Changes: 1</summary>" in said
    assert r"| `r\|1` | fuse | 10 | 100 | - |" in said
    assert change_table([CHANGE]) in said


def test_what_was_not_looked_at_is_not_told():
    assert closeness(None) == ""
    assert closeness(FIDELITY).startswith(f"Against the original on {FIDELITY.samples} samples of ")


def test_a_file_that_cannot_be_used_is_told():
    assert failed_summary(Failed(path="x/a.onnx", error="No <b>.", exit_code=3)) == (
        "### onnxshallow: `a.onnx`\n\n**No \\<b\\>.**\n"
    )
