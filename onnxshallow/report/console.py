"""Tables on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console, JustifyMethod
from rich.table import Table

from onnxshallow.report import terminal
from onnxshallow.report.schema import (
    AnalysisReport,
    BenchReport,
    CostReport,
    DoctorReport,
    FidelityReport,
    ParetoReport,
    PlanReport,
    Report,
    SensitivityReport,
    ValidationReport,
)
from onnxshallow.text import printable

__all__ = [
    "print_analysis",
    "print_bench",
    "print_pareto",
    "print_plan",
    "print_result",
    "print_sensitivity",
    "print_validation",
]


# Columns from which numbers have room to stay on one line.
_WIDE = 72


def _table(console: Console, *columns: str, folded: Sequence[int] = (0,)) -> Table:
    """A table of text, then numbers; the columns that are `folded` give way, in a narrow terminal all of them."""
    narrow = console.width < _WIDE
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 0) if narrow else (0, 1))
    for index, column in enumerate(columns):
        justify: JustifyMethod = "left" if index == 0 else "right"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=not narrow and index not in folded)
    return table


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}".replace(",", " ")


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def print_analysis(report: AnalysisReport) -> None:
    """The sites of a model, and its totals."""
    console = terminal.console()
    table = _table(console, "site", "kind", "size", "depth", "can be")
    for site in report.sites:
        fate = "removed, fused" if site.fusable else "removed" if site.removable else "-"
        style = None if site.removable else "dim"
        table.add_row(printable(site.name), site.kind, _count(site.size), _count(site.depth), fate, style=style)
    console.print(table)
    for site in report.sites:
        if site.reason:
            what = "stays" if not site.removable else "is not fused"
            console.print(f"{printable(site.name)} {what}: {printable(site.reason)}.", soft_wrap=True)
    totals = report.totals
    console.print(
        f"\n{_count(totals.relus)} ReLUs in {totals.relu_nodes} sites, {_count(totals.macs)} MACs, "
        f"{_count(totals.params)} parameters, {totals.conv_layers} convolutions, depth {totals.depth}."
    )
    if report.unknown:
        console.print(
            f"{len(report.unknown)} nodes have shapes that are not known and count as zero; "
            "fix open axes with --input-shape."
        )


def print_sensitivity(report: SensitivityReport) -> None:
    """The damage of every candidate, site by site."""
    console = terminal.console()
    table = _table(console, "site", "size", "sensitivity", "best merger", "its damage", folded=(0, 3))
    for site in report.sites:
        merged = {k: v for k, v in (site.damages or {}).items() if v is not None and not k.startswith("linearize")}
        best = min(merged, key=lambda key: merged[key] or 0.0) if merged else None
        table.add_row(
            printable(site.name),
            _count(site.size),
            _number(site.sensitivity),
            printable(best or "-"),
            _number(merged[best]) if best else "-",
        )
    console.print(table)
    console.print(f"Damage by {report.measure} on {report.samples} held-out samples of {printable(report.source)}.")


def _comparison_table(
    console: Console, original: CostReport, optimized: CostReport, what: str = "optimized"
) -> Table:
    table = _table(console, "", "original", what, "ratio")
    for label, name in (
        ("ReLUs", "relus"),
        ("ReLU nodes", "relu_nodes"),
        ("MACs", "macs"),
        ("parameters", "params"),
        ("convolutions", "conv_layers"),
        ("depth", "depth"),
        ("bytes", "size_bytes"),
    ):
        before, after = getattr(original, name), getattr(optimized, name)
        if before is None or after is None:
            continue
        table.add_row(label, _count(before), _count(after), f"{after / before:.3f}" if before else "-")
    if original.latency_ms is not None and optimized.latency_ms is not None:
        ratio = optimized.latency_ms / original.latency_ms
        table.add_row("latency, ms", f"{original.latency_ms:.3f}", f"{optimized.latency_ms:.3f}", f"{ratio:.3f}")
    if original.accuracy is not None and optimized.accuracy is not None:
        before, after = original.accuracy, optimized.accuracy
        table.add_row("top-1, %", f"{100 * before.top1:.2f}", f"{100 * after.top1:.2f}", "")
        if before.top5 is not None and after.top5 is not None:
            table.add_row("top-5, %", f"{100 * before.top5:.2f}", f"{100 * after.top5:.2f}", "")
    return table


def print_result(report: Report, path: Path) -> None:
    """Before and after, and the verdict.

    Args:
        report: of the run.
        path: where the JSON report is.
    """
    console = terminal.console()
    if report.optimized is not None:
        console.print(_comparison_table(console, report.original, report.optimized))
    if report.fidelity is not None:
        _print_fidelity(console, report.fidelity)
    verdict = report.verdict
    if verdict.accuracy_lost is not None and verdict.accuracy_lost_interval is not None:
        low, high = (100 * value for value in verdict.accuracy_lost_interval)
        console.print(
            f"Accuracy lost: {100 * verdict.accuracy_lost:.2f} points (95 % interval {low:.2f} to {high:.2f}; "
            f"McNemar p = {verdict.mcnemar_p or 0:.3g})."
        )
    met = verdict.exit_code == 0
    if met:
        console.print("Goal met.", style="green")
    for reason in verdict.reasons if met else verdict.reasons[1:]:
        console.print(f"Note: {printable(reason)}.")
    if report.output is not None:
        console.print(f"Written: {printable(report.output.path)}", soft_wrap=True)
    console.print(f"Report: {printable(str(path))}", soft_wrap=True)


def print_doctor(report: DoctorReport) -> None:
    """What is installed, and what to do about it."""
    console = terminal.console()
    table = _table(console, "package", "installed", "at least", "")
    for package in report.packages:
        style = None if package.ok else "red"
        table.add_row(package.name, package.version or "-", package.least or "-", _mark(package.ok), style=style)
    console.print(table)
    memory = "unknown" if report.memory_bytes is None else f"{report.memory_bytes / 2**30:.1f} GiB"
    cache = report.cache
    lines = {
        "onnxshallow": f"{report.version}, Python {report.python}, {report.platform}",
        "cores": f"{report.cores} usable",
        "free memory": memory,
        "providers": ", ".join(report.providers) or "none",
        "onnxruntime": "runs a model" if report.runs else "does not run a model",
        "cache": f"{printable(cache.path)}, {cache.files} sweeps, {cache.size_bytes / 2**20:.1f} MiB",
    }
    for extra, lacking in report.extras.items():
        lines[f"extra [{extra}]"] = f"lacks {', '.join(lacking)}" if lacking else "installed"
    for name, value in lines.items():
        console.print(f"{name + ':':<20}{value}", soft_wrap=True)
    for problem in report.problems:
        console.print(f"Problem: {problem}", style="red", soft_wrap=True)
    for hint in report.hints:
        console.print(f"Hint: {hint}", style="yellow", soft_wrap=True)
    if not report.problems:
        console.print("All is well.", style="green")


def _mark(ok: bool) -> str:
    return "ok" if ok else "not ok"


def print_plan(report: PlanReport) -> None:
    """What a plan would do, which nothing was done of."""
    console = terminal.console()
    sites = {decision.name: decision for decision in report.decisions}
    table = _table(console, "sites", "change", "kernel", "ReLUs saved", "MACs saved", "damage")
    for entry in report.plan["actions"]:
        kernel = "x".join(map(str, entry["kernel"])) if entry["kernel"] else "-"
        names = [name for name in entry["sites"] if name in sites] or [entry["output"]]
        table.add_row(
            printable(", ".join(names)),
            entry["action"],
            kernel,
            _count(entry["relus_saved"]),
            _count(entry["macs_saved"]),
            _number(entry["damage"]),
        )
    console.print(table)
    console.print(_comparison_table(console, report.original, report.predicted, "predicted"))
    console.print(
        f"Damages add up to {_number(report.damage)}, by {report.measure}, each measured alone on {report.samples} "
        f"held-out samples of {printable(report.source)}."
    )
    console.print("Nothing was carried out. A run carries out several plans and keeps the best.")


def _print_fidelity(console: Console, fidelity: FidelityReport) -> None:
    parts = [f"relative error of {name!r} {_number(value)}" for name, value in fidelity.relative_error.items()]
    if fidelity.agreement is not None:
        parts = [f"same class for {100 * fidelity.agreement:.2f} %", f"KL {_number(fidelity.kl)}", *parts]
    samples = f"{fidelity.samples} samples of {printable(fidelity.source)}"
    console.print(f"Against the original on {samples}: {', '.join(parts)}.")


def print_pareto(report: ParetoReport) -> None:
    """One line a target."""
    console = terminal.console()
    labelled = any(point.accuracy_lost is not None for point in report.points)
    table = _table(
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
            _number(after.relus / before.relus if before.relus else None, 3),
            _number(after.macs / before.macs if before.macs else None, 3),
            f"{before.depth} -> {after.depth}",
            _number(latency, 3),
            "-" if fidelity.agreement is None else f"{100 * fidelity.agreement:.2f}",
            _number(fidelity.kl),
            "" if point.accuracy_lost is None else f"{100 * point.accuracy_lost:.2f}",
        )
    console.print(table)
    for point in report.points:
        if point.reason is not None:
            console.print(f"{_count(point.target_relus)} ReLUs: {printable(point.reason)}", soft_wrap=True)
    if not report.validated:
        console.print("Not validated: calibrated on synthetic images, no accuracy is known.", style="yellow")


def print_validation(report: ValidationReport) -> None:
    """Accuracy and fidelity of two models."""
    console = terminal.console()
    before, after = report.original_accuracy, report.optimized_accuracy
    if before is not None and after is not None:
        table = _table(console, "", "original", "optimized")
        for label, a, b in (("top-1, %", before.top1, after.top1), ("top-5, %", before.top5, after.top5)):
            if a is not None and b is not None:
                table.add_row(label, f"{100 * a:.2f}", f"{100 * b:.2f}")
        intervals = [" to ".join(f"{100 * value:.2f}" for value in x.top1_interval) for x in (before, after)]
        table.add_row("95 % interval", *intervals)
        console.print(table)
    _print_fidelity(console, report.fidelity)


def print_bench(report: BenchReport) -> None:
    """Latency of two models."""
    console = terminal.console()
    table = _table(console, "", "median ms")
    table.add_row(printable(report.original.path), f"{report.original_ms:.3f}")
    table.add_row(printable(report.optimized.path), f"{report.optimized_ms:.3f}")
    console.print(table)
    low, high = report.speedup_interval
    console.print(
        f"{report.speedup:.3f} times as fast (95 % interval {low:.3f} to {high:.3f}), "
        f"batch {report.batch_size}, {report.runs} runs each, in turns."
    )
