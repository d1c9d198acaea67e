"""Tables on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from onnxshallow.report import terminal
from onnxshallow.report.schema import (
    AnalysisReport,
    BenchReport,
    FidelityReport,
    MetricReport,
    OutputFidelity,
    ParetoReport,
    PrivateReport,
    Report,
    SensitivityReport,
    ValidationReport,
    Verdict,
)
from onnxshallow.report.tables import comparison_table, count, new_table, number
from onnxshallow.text import printable

__all__ = ["print_analysis", "print_bench", "print_pareto", "print_result", "print_sensitivity", "print_validation"]


def print_analysis(report: AnalysisReport) -> None:
    """The sites of a model, and its totals."""
    console = terminal.console()
    table = new_table(console, "site", "kind", "size", "depth", "can be")
    for site in report.sites:
        fate = "removed, fused" if site.fusable else "removed" if site.removable else "-"
        style = None if site.removable else "dim"
        table.add_row(printable(site.name), site.kind, count(site.size), count(site.depth), fate, style=style)
    console.print(table)
    for site in report.sites:
        if site.reason:
            what = "stays" if not site.removable else "is not fused"
            console.print(f"{printable(site.name)} {what}: {printable(site.reason)}.", soft_wrap=True)
    totals = report.totals
    console.print(
        f"\n{count(totals.relus)} ReLUs in {totals.relu_nodes} sites, {count(totals.macs)} MACs, "
        f"{count(totals.params)} parameters, {totals.conv_layers} convolutions, depth {totals.depth}."
    )
    if report.unknown:
        console.print(
            f"{len(report.unknown)} nodes have shapes that are not known and count as zero; "
            "fix open axes with --input-shape."
        )


def print_sensitivity(report: SensitivityReport) -> None:
    """The damage of every candidate, site by site."""
    console = terminal.console()
    table = new_table(console, "site", "size", "sensitivity", "best merger", "its damage", folded=(0, 3))
    for site in report.sites:
        merged = {k: v for k, v in (site.damages or {}).items() if v is not None and not k.startswith("linearize")}
        best = min(merged, key=lambda key: merged[key] or 0.0) if merged else None
        table.add_row(
            printable(site.name),
            count(site.size),
            number(site.sensitivity),
            printable(best or "-"),
            number(merged[best]) if best else "-",
        )
    console.print(table)
    console.print(f"Damage by {report.measure} on {report.samples} held-out samples of {printable(report.source)}.")


def print_result(report: Report, path: Path) -> None:
    """Before and after, and the verdict.

    Args:
        report: of the run.
        path: where the JSON report is.
    """
    console = terminal.console()
    if report.optimized is not None:
        console.print(comparison_table(console, report.original, report.optimized))
    if report.fidelity is not None:
        _print_fidelity(console, report.fidelity)
    verdict = report.verdict
    _print_lost(console, verdict)
    met = verdict.exit_code == 0
    if met:
        console.print("Goal met.", style="green")
    for reason in verdict.reasons if met else verdict.reasons[1:]:
        console.print(f"Note: {printable(reason)}.")
    if report.output is not None:
        console.print(f"Written: {printable(report.output.path)}", soft_wrap=True)
    console.print(f"Report: {printable(str(path))}", soft_wrap=True)


def _print_lost(console: Console, verdict: Verdict) -> None:
    if verdict.accuracy_lost is not None and verdict.accuracy_lost_interval is not None:
        low, high = (100 * value for value in verdict.accuracy_lost_interval)
        console.print(
            f"Accuracy lost: {100 * verdict.accuracy_lost:.2f} points (95 % interval {low:.2f} to {high:.2f}; "
            f"McNemar p = {verdict.mcnemar_p or 0:.3g})."
        )


def _print_fidelity(console: Console, fidelity: FidelityReport) -> None:
    parts = [f"relative error of {name!r} {number(value)}" for name, value in fidelity.relative_error.items()]
    if fidelity.agreement is not None:
        parts = [f"same class for {100 * fidelity.agreement:.2f} %", f"KL {number(fidelity.kl)}", *parts]
    samples = f"{fidelity.samples} samples of {printable(fidelity.source)}"
    console.print(f"Against the original on {samples}: {', '.join(parts)}.")


def print_pareto(report: ParetoReport) -> None:
    """One line a target."""
    console = terminal.console()
    labelled = any(point.accuracy_lost is not None for point in report.points)
    table = new_table(
        console, "ReLUs kept", "MACs", "depth", "latency", "same class, %", "KL", "points lost" if labelled else ""
    )
    before = report.original
    for point in report.points:
        after, fidelity = point.optimized, point.fidelity
        if after is None or fidelity is None:
            continue
        latency = None
        if after.latency_ms is not None and before.latency_ms:
            latency = after.latency_ms / before.latency_ms
        table.add_row(
            number(after.relus / before.relus if before.relus else None, 3),
            number(after.macs / before.macs if before.macs else None, 3),
            f"{before.depth} -> {after.depth}",
            number(latency, 3),
            "-" if fidelity.agreement is None else f"{100 * fidelity.agreement:.2f}",
            number(fidelity.kl),
            "" if point.accuracy_lost is None else f"{100 * point.accuracy_lost:.2f}",
        )
    console.print(table)
    for point in report.points:
        if point.reason is not None:
            console.print(f"{count(point.target_relus)} ReLUs: {printable(point.reason)}", soft_wrap=True)
    if not report.validated:
        console.print("Not validated: calibrated on synthetic images, no accuracy is known.", style="yellow")


def print_validation(report: ValidationReport) -> None:
    """Accuracy, fidelity, the user's metrics and the gates of two models."""
    console = terminal.console()
    before, after = report.original_accuracy, report.optimized_accuracy
    if before is not None and after is not None:
        table = new_table(console, "", "original", "optimized")
        for label, a, b in (("top-1, %", before.top1, after.top1), ("top-5, %", before.top5, after.top5)):
            if a is not None and b is not None:
                table.add_row(label, f"{100 * a:.2f}", f"{100 * b:.2f}")
        intervals = [" to ".join(f"{100 * value:.2f}" for value in x.top1_interval) for x in (before, after)]
        table.add_row("top-1, 95 % interval", *intervals)
        console.print(table)
    _print_lost(console, report.verdict)
    _print_fidelity(console, report.fidelity)
    if report.fidelity.outputs:
        console.print(_outputs_table(console, report.fidelity.outputs))
    _print_changed(console, report)
    if report.metrics:
        console.print(_metrics_table(console, report.metrics))
    for gate in report.gates:
        at_least = gate.name == "min-agreement"
        relation = (">=" if at_least else "<=") if gate.met else "<" if at_least else ">"
        state, source = "holds" if gate.met else "IS BROKEN", ", the default" if gate.default else ""
        style = "green" if gate.met else "red"
        console.print(f"--{gate.name} {state}: {number(gate.value)} {relation} {gate.limit:g}{source}.", style=style)
    for reason in report.verdict.reasons if report.verdict.exit_code == 0 else ():
        console.print(f"Note: {printable(reason)}", soft_wrap=True)


def _outputs_table(console: Console, outputs: Sequence[OutputFidelity]) -> Table:
    integers = any(output.equal is not None for output in outputs)
    table = new_table(
        console,
        "output",
        "relative error",
        "cosine",
        "PSNR, dB",
        "largest error",
        *(["equal, %"] if integers else []),
        "worst sample",
    )
    for output in outputs:
        figures = [output.relative_error, output.cosine, output.psnr_db, output.max_error]
        cells = [number(value) for value in figures] if output.equal is None else [""] * 4
        if integers:
            cells.append("" if output.equal is None else f"{100 * output.equal:.2f}")
        worst = "-" if output.worst_sample is None else f"{output.worst_sample} ({number(output.worst_error)})"
        table.add_row(printable(output.name), *cells, worst)
    return table


def _print_changed(console: Console, report: ValidationReport) -> None:
    """The samples that changed their class, those first of which the original was most sure."""
    if not report.changed:
        return
    listed = [
        f"{printable(one.name or str(one.index))} ({_name(one.original)} -> {_name(one.optimized)})"
        for one in report.changed[:5]
    ]
    end = ", ..." if report.changed_total > len(listed) else "."
    console.print(
        f"{count(report.changed_total)} samples changed their class, the surest first: {', '.join(listed)}{end}",
        soft_wrap=True,
    )


def _name(label: int | None) -> str:
    return "none" if label is None else str(label)


def _metrics_table(console: Console, metrics: Sequence[MetricReport]) -> Table:
    table = new_table(console, "metric", "original", "optimized", "difference", "95 % interval")
    for metric in metrics:
        interval = metric.difference_interval
        table.add_row(
            printable(metric.name),
            *(number(value) for value in (metric.original, metric.optimized, metric.difference)),
            "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
        )
    return table


def print_bench(report: BenchReport) -> None:
    """Latency of models side by side, and what private inference is estimated to cost."""
    console = terminal.console()
    if report.measurements:
        console.print(_bench_table(console, report))
    low, high = report.speedup_interval
    runs = "1 run" if report.runs == 1 else f"{report.runs} runs"
    original, optimized = printable(report.original.path), printable(report.optimized.path)
    console.print(
        f"Against {original}, {optimized} is {report.speedup:.3f} times as fast "
        f"(95 % interval {low:.3f} to {high:.3f}), batch {report.batch_size}, {runs} each, in turns.",
        soft_wrap=True,
    )
    for protocol in dict.fromkeys(estimate.protocol for estimate in report.private):
        _print_private(console, report, [e for e in report.private if e.protocol == protocol])
    for note in report.notes:
        console.print(f"Note: {printable(note)}", soft_wrap=True)


def _bench_table(console: Console, report: BenchReport) -> Table:
    table = new_table(
        console, "model", "batch", "threads", "median ms", "95 % interval", "samples/s", "times as fast",
        "95 % interval",
        "peak MB", "file MB",
    )  # fmt: skip
    for row in report.measurements:
        model = report.models[row.model]
        table.add_row(
            printable(model.path),
            str(row.batch_size),
            "all" if row.threads is None else str(row.threads),
            f"{row.median_ms:.3f}",
            " to ".join(f"{value:.3f}" for value in row.median_interval),
            count(round(row.samples_per_second)),
            f"{row.speedup:.3f}",
            " to ".join(f"{value:.3f}" for value in row.speedup_interval) if row.model else "",
            "-" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 1e6:.1f}",
            f"{model.size_bytes / 1e6:.3f}",
        )
    return table


def _print_private(console: Console, report: BenchReport, estimates: Sequence[PrivateReport]) -> None:
    """One protocol's estimates, one model a line, and what they leave out."""
    first = estimates[0]
    console.print(
        f"\nEstimate, not a measurement: private inference by {first.title}, one sample, "
        f"{1000 * first.rtt:g} ms round trip, {first.bandwidth / 1e6:g} Mbit/s.",
        soft_wrap=True,
    )
    table = new_table(
        console, "model", "comparisons", "MB", "offline MB", "messages", "seconds", "offline seconds", "times as fast"
    )  # fmt: skip
    for row in estimates:
        table.add_row(
            printable(report.models[row.model].path),
            count(row.comparisons),
            f"{row.bytes / 1e6:.3f}",
            "-" if row.offline_bytes is None else f"{row.offline_bytes / 1e6:.3f}",
            "-" if row.messages is None else count(row.messages),
            f"{row.seconds:.4f}",
            number(row.offline_seconds),
            number(row.seconds_ratio, 3),
        )
    console.print(table)
    alike = all(row.not_counted == first.not_counted for row in estimates)
    for row in estimates[:1] if alike else estimates:
        of = "" if alike else f" for {printable(report.models[row.model].path)}"
        console.print(f"Not counted{of}: {'; '.join(map(printable, row.not_counted))}.", soft_wrap=True)
    console.print(f"Sources: {'; '.join(first.sources)}.", soft_wrap=True)
