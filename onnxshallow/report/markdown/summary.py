"""A report in Markdown, as short as a comment on a pull request should be."""

from collections.abc import Sequence
from pathlib import PurePath

from onnxshallow.report.markdown.text import code, plain, table
from onnxshallow.report.schema.figures import compared, count, lost, number
from onnxshallow.report.schema.reports import (
    AnalysisReport,
    BenchReport,
    ChangeReport,
    ParetoReport,
    Report,
    ValidationReport,
    Verdict,
)
from onnxshallow.report.schema.several import Failed
from onnxshallow.validation.compare import Fidelity

__all__ = [
    "analysis_summary",
    "bench_summary",
    "change_table",
    "closeness",
    "failed_summary",
    "pareto_summary",
    "run_summary",
    "validation_summary",
]


def run_summary(report: Report) -> str:
    """What `optimize`, `apply` or `finetune` did, before and after."""
    name = code(PurePath(report.model.path).name)
    parts = [f"### onnxshallow: {name}", _verdict(report.verdict)]
    if report.optimized is not None:
        rows = compared(report.original, report.optimized, report.speed)
        parts.append(table(["", "original", "optimized", "ratio"], rows))
    parts += [lost(report.verdict), closeness(report.fidelity), *_remarks(report.verdict)]
    if report.changes:
        heading = f"<summary>Changes: {len(report.changes)}</summary>"
        parts.append(f"<details>{heading}\n\n{change_table(report.changes)}\n\n</details>")
    return _joined(parts)


def validation_summary(report: ValidationReport) -> str:
    """What `validate` found of two models."""
    first, second = (code(PurePath(file.path).name) for file in (report.original, report.optimized))
    parts = [f"### onnxshallow: {second} in the place of {first}", _verdict(report.verdict)]
    before, after = report.original_accuracy, report.optimized_accuracy
    if before is not None and after is not None:
        rows = [["top-1, %", f"{100 * before.top1:.2f}", f"{100 * after.top1:.2f}"]]
        if before.top5 is not None and after.top5 is not None:
            rows.append(["top-5, %", f"{100 * before.top5:.2f}", f"{100 * after.top5:.2f}"])
        parts.append(table(["", "original", "optimized"], rows))
    gates = [[code(f"--{g.name}"), f"{g.limit:g}", number(g.value), "holds" if g.met else "**broken**"]
             for g in report.gates]  # fmt: skip
    if gates:
        parts.append(table(["gate", "allowed", "found", ""], gates))
    parts += [lost(report.verdict), closeness(report.fidelity), *_remarks(report.verdict)]
    return _joined(parts)


def pareto_summary(report: ParetoReport) -> str:
    """What each target costs."""
    rows = [[*cells, plain(reason)] for *cells, reason in (point.row for point in report.points)]
    parts = [f"### onnxshallow: {code(PurePath(report.model.path).name)}"]
    if report.verdict is not None:
        parts.append(_verdict(report.verdict))
    original = report.original
    parts.append(f"The original has {count(original.relus)} ReLUs and {count(original.macs)} MACs.")
    unit = "ReLUs" if report.by == "relus" else plain(original.price_of or report.by)
    parts.append(table([f"at most ({unit})", "ReLUs", "MACs", "same class", "points lost", "why not"], rows, left=0))
    return _joined([*parts, *([] if report.verdict is None else _remarks(report.verdict))])


def bench_summary(report: BenchReport) -> str:
    """How long models take, side by side."""
    rows = []
    for one in report.measurements:
        low, high = one.speedup_interval
        rows.append(
            [code(PurePath(report.models[one.model].path).name), str(one.batch_size), str(one.threads or "all"),
             f"{one.median_ms:.3f}", f"{one.speedup:.3f}", f"{low:.3f} to {high:.3f}" if one.model else "",
             "-" if one.peak_memory_bytes is None else f"{one.peak_memory_bytes / 1e6:.1f}"]
        )  # fmt: skip
    headers = ["model", "batch", "threads", "median ms", "times as fast", "95 % interval", "peak MB"]
    parts = ["### onnxshallow: latency in onnxruntime, in turns", table(headers, rows)]
    if report.private:
        headers = ["protocol, estimated", "model", "MB", "seconds", "times as fast"]
        rows = [[plain(one.title), code(PurePath(report.models[one.model].path).name), f"{one.bytes / 1e6:.3f}",
                 f"{one.seconds:.4f}", number(one.seconds_ratio, 3)] for one in report.private]  # fmt: skip
        parts.append(table(headers, rows, left=2))
    return _joined([*parts, *(f"Note: {plain(note)}" for note in report.notes)])


def analysis_summary(report: AnalysisReport) -> str:
    """What `analyze` counted."""
    totals = report.totals
    rows = [
        ["ReLUs", count(totals.relus)],
        ["sites", count(len(report.sites))],
        ["of these removable", count(sum(site.removable for site in report.sites))],
        ["MACs", count(totals.macs)],
        ["parameters", count(totals.params)],
        ["convolutions", count(totals.conv_layers)],
        ["depth", count(totals.depth)],
    ]
    return _joined([f"### onnxshallow: {code(PurePath(report.model.path).name)}", table(["", "count"], rows)])


def failed_summary(failed: Failed) -> str:
    """A file that cannot be used, and why."""
    return _joined([f"### onnxshallow: {code(PurePath(failed.path).name)}", f"**{plain(failed.error)}**"])


def change_table(changes: Sequence[ChangeReport]) -> str:
    """What became of which activations, and what that was measured to damage."""
    split = any(change.weight_error is not None for change in changes)
    rows = [
        [", ".join(map(code, change.sites)) or code(change.output), plain(change.title or change.what),
         count(change.relus_saved), count(change.macs_saved), *[number(change.weight_error)] * split,
         number(change.damage)]
        for change in changes
    ]  # fmt: skip
    headers = ["sites", "change", "ReLUs saved", "MACs saved", *["weight error"] * split, "damage"]
    return table(headers, rows, left=2)


def closeness(fidelity: Fidelity | None) -> str:
    """How close the outputs are, in a sentence; empty where that was not looked at."""
    if fidelity is None:
        return ""
    parts = [] if fidelity.agreement is None else [f"same class for {100 * fidelity.agreement:.2f} %"]
    parts += [f"relative error of {code(name)} {number(value)}" for name, value in fidelity.relative_error.items()]
    return f"Against the original on {fidelity.samples} samples of {plain(fidelity.source)}: {', '.join(parts)}."


def _verdict(verdict: Verdict) -> str:
    return f"**{plain(verdict.line)}** Exit code {verdict.exit_code}."


def _remarks(verdict: Verdict) -> list[str]:
    return [f"Note: {plain(remark)}." for remark in verdict.remarks]


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"
