import math
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
from pydantic import ValidationError

from onnxshallow.report.schema.reports import (
    SCHEMA_VERSION,
    BenchModel,
    BenchReport,
    ChangeReport,
    CostReport,
    Decision,
    FileReport,
    ParetoPoint,
    ParetoReport,
    PrivateReport,
    Report,
    SiteReport,
    ValidationReport,
    Verdict,
)
from onnxshallow.validation.compare import Accuracy, Fidelity
from tests.report.pages import REPORT
from tests.runs import strict_json

COST = CostReport(
    relus=2, relu_nodes=1, comparisons=2, macs=9, params=3, conv_layers=1, linear_layers=1, depth=1, latency_ms=0.5
)
VERDICT = Verdict(status="met", exit_code=0, validated=True, reasons=[])
FIDELITY = Fidelity(samples=3, source="a.npz", agreement=0.5, kl=0.1, relative_error={"y": 0.25})
FILE = FileReport(path="net.onnx", sha256="abc")
DECISION = Decision(name="r", kind="relu", size=4, action="keep", reason="not part of the plan")


def changed(part, **changes):
    """A part of a report with some fields changed."""
    return replace(part, **changes) if is_dataclass(part) else part.model_copy(update=changes)


def names_of(part):
    return {field.name for field in fields(part)}


def report(**changes):
    return Report(
        **{
            "model": FILE, "output": None, "original": COST, "optimized": None, "decisions": [DECISION],
            "fidelity": FIDELITY, "verdict": VERDICT, "timings": {"load": 0.5}, "versions": {}, "config": {},
            "seed": 0, **changes,
        }
    )  # fmt: skip


def test_what_is_written_can_be_read_again():
    whole = report(optimized=COST)
    assert Report.model_validate_json(whole.model_dump_json()) == whole
    assert whole.schema_version == SCHEMA_VERSION == 1


def test_a_bench_needs_no_more_than_it_used_to_and_can_be_read_again():
    old = {
        "original": FILE, "optimized": FILE, "original_ms": 2, "optimized_ms": 1, "speedup": 2,
        "speedup_interval": (1.5, 2.5), "batch_size": 4, "runs": 9, "threads": None, "versions": {},
    }  # fmt: skip
    assert BenchReport(**old).measurements == BenchReport(**old).private == []
    private = PrivateReport(
        model=0, protocol="p", title="P", rtt=0, bandwidth=1, comparisons=0, comparison_bytes=0, linear_bytes=None,
        bytes=0, offline_bytes=None, messages=None, seconds=0, offline_seconds=None, counted=(), not_counted=("a",),
        sources=("b",),
    )  # fmt: skip
    whole = BenchReport(**old, models=[BenchModel(path="a", sha256="b", size_bytes=1)], private=[private], seed=3)
    assert BenchReport.model_validate_json(whole.model_dump_json()) == whole
    assert strict_json(whole.model_dump_json())["private"][0]["kind"] == "estimate"
    with pytest.raises(ValidationError):
        BenchReport(**old, private=[{**vars(private), "kind": "measurement"}])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_does_not_know_is_null(value):
    fidelity = changed(FIDELITY, kl=value, relative_error={"y": value}, composition_error=value)
    verdict, decision = changed(VERDICT, accuracy_lost=value), changed(DECISION, damage=value)
    site = SiteReport(
        name="r", kind="relu", size=1, depth=1, removable=True, fusable=False, reason=None, sensitivity=value,
        damages={"a": value},
    )  # fmt: skip
    point = ParetoPoint(target_relus=1, accuracy_lost=value, damage=value, fidelity=fidelity)
    text = report(fidelity=fidelity, verdict=verdict, decisions=[decision]).model_dump_json()
    content = strict_json(text)
    assert content["fidelity"]["kl"] is content["fidelity"]["relative_error"]["y"] is None
    assert content["fidelity"]["composition_error"] is content["verdict"]["accuracy_lost"] is None
    assert content["decisions"][0]["damage"] is None
    assert strict_json(site.model_dump_json())["damages"] == {"a": None}
    written = strict_json(point.model_dump_json())
    assert written["accuracy_lost"] is written["damage"] is written["fidelity"]["kl"] is None


def test_reports_of_earlier_versions_are_read():
    """They know nothing of single outputs, classes and samples."""
    old = report().model_dump(exclude={"classes", "changed", "changed_total"})
    del old["fidelity"]["outputs"], old["original"]["unknown"]
    read = Report.model_validate(old)
    assert (read.classes, read.changed, read.changed_total, read.fidelity.outputs) == ((), (), 0, ())


def test_changes_of_earlier_versions_are_read():
    """They have no words for small places, and nothing of other packages' actions."""
    old = {
        "key": "fuse:3x3:x->y", "action": "fuse", "sites": ["r"], "source": "x", "output": "y", "kernel": [3, 3],
        "rank": None, "exactness": "fitted", "relus_saved": 1, "macs_saved": 1, "damage": 0.1, "what": "as said",
        "kept": None, "kept_unit": None, "squares": 0,
    }  # fmt: skip
    read = ChangeReport.model_validate(old)
    assert (read.short, read.title, read.variant, read.what) == ("", "", {}, "as said")


def test_a_site_comes_with_its_name_first():
    assert list(Decision.model_fields)[:4] == ["name", "kind", "size", "action"]


def test_parts_are_frozen_and_closed():
    with pytest.raises(FrozenInstanceError):
        COST.relus = 3
    with pytest.raises(ValidationError):
        FILE.path = "other.onnx"
    with pytest.raises(ValidationError):
        Report.model_validate({**report().model_dump(), "original": {**vars(COST), "size": 3}})
    with pytest.raises(ValidationError):
        FileReport(path="a", sha256=None, size=3)
    with pytest.raises(ValidationError):
        Verdict(status="perhaps", exit_code=0, validated=True, reasons=[])
    with pytest.raises(ValidationError):
        DECISION.model_validate({**DECISION.model_dump(), "exactness": "nearly"})


def test_the_names_that_scripts_depend_on():
    assert {
        "schema_version", "model", "output", "original", "optimized", "decisions", "fidelity", "verdict", "timings",
        "versions", "config", "seed",
    } <= set(Report.model_fields)  # fmt: skip
    counts = {"relus", "relu_nodes", "macs", "params", "conv_layers", "size_bytes", "accuracy", "latency_ms"}
    assert counts <= names_of(CostReport)
    assert {"top1", "top5", "top1_interval", "samples"} == names_of(Accuracy)
    assert {"name", "size", "action", "reason", "damage", "exactness"} <= set(Decision.model_fields)
    assert {"status", "exit_code", "reasons"} <= set(Verdict.model_fields)
    assert {"original", "optimized", "fidelity", "verdict"} <= set(ValidationReport.model_fields)
    assert {"schema_version", "model", "original", "points", "validated", "config", "seed"} <= set(
        ParetoReport.model_fields
    )
    assert {"target_relus", "reason", "optimized", "accuracy_lost", "fidelity", "decisions", "plan"} <= set(
        ParetoPoint.model_fields
    )


def test_reports_are_short_in_a_line_and_a_table_in_a_notebook():
    assert repr(REPORT) == str(REPORT) == "<Report: target>"
    made = REPORT.model_copy(update={"optimized": REPORT.original})
    assert repr(made) == "<Report: target, ReLUs 10 -> 10 (1.000), depth 3 -> 3>"
    shown = made._repr_html_()
    assert "<caption>Not met: The target cannot be reached.</caption>" in shown
    assert '<th scope="row">ReLUs</th><td>10</td><td>10</td><td>1.000</td>' in shown


def test_a_frontier_is_a_row_for_each_target():
    points = [ParetoPoint(target_relus=5, reason="It is <out> of reach."), ParetoPoint(target_relus=8)]
    report = ParetoReport(
        model=REPORT.model,
        original=REPORT.original,
        points=points,
        validated=False,
        timings={},
        versions={},
        config={},
        seed=0,
    )
    assert repr(report) == "<ParetoReport: 2 targets of relus, 1 of them met>"
    assert report._repr_html_().count("<tr>") == 3
    assert "It is &lt;out&gt; of reach." in report._repr_html_()
