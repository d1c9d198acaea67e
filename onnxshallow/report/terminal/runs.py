"""Tables on the terminal: what runs found and did."""

from collections.abc import Mapping
from pathlib import Path

from onnxshallow.report.schema.reports import AnalysisReport, ParetoReport, PlanReport, Report, SensitivityReport
from onnxshallow.report.terminal import console as terminal
from onnxshallow.report.terminal.tables import (
    comparison_table,
    count,
    make_table,
    number,
    print_fidelity,
    print_kinds,
    print_lost,
    print_verdict,
    show_table,
)
from onnxshallow.search.prospect import gain_in_words
from onnxshallow.search.sensitivity.measures import in_words
from onnxshallow.text import printable

__all__ = ["print_analysis", "print_pareto", "print_plan", "print_result", "print_sensitivity"]

# Nodes whose shapes are not known of which this many are named.
_MOST_NAMED = 3


def print_analysis(report: AnalysisReport) -> None:
    """The sites of a model, and its totals."""
    console = terminal.console()
    table = make_table(console, "site", "kind", "size", "depth", "can be")
    for site in report.sites:
        fate = "removed, fused" if site.fusable else "removed" if site.removable else "-"
        style = None if site.removable else "dim"
        table.add_row(printable(site.name), site.kind, count(site.size), count(site.depth), fate, style=style)
    show_table(console, table)
    for (removable, reason), names in _by_reason(report).items():
        one, several = ("is not fused", "are not fused") if removable else ("stays", "stay")
        what = one if len(names) == 1 else several
        console.print(f"{', '.join(names)} {what}: {printable(reason)}.", soft_wrap=True)
    totals = report.totals
    console.print(
        f"\n{count(totals.relus)} ReLUs in {totals.relu_nodes} sites, {count(totals.macs)} MACs, "
        f"{count(totals.params)} parameters, {totals.conv_layers} convolutions, depth {totals.depth}"
        + (f", {count(totals.squares)} squares." if totals.squares else ".")
    )
    if gain := gain_in_words(report.prospects):
        console.print(gain, soft_wrap=True)
    if (made := report.provenance) is not None:
        console.print(
            f"Made by onnxshallow {printable(made.version)} of the model with sha256 {printable(made.input_sha256)}"
            + (f", trained {printable(made.training)}:" if made.training else ":"),
            soft_wrap=True,
        )
        for name, what in made.nodes.items():
            console.print(f"  {printable(name)}: {printable(what)}", soft_wrap=True)
    if report.unknown:
        named = ", ".join(repr(printable(name)) for name in report.unknown[:_MOST_NAMED])
        console.print(
            f"{len(report.unknown)} nodes have shapes that are not known and are not counted, such as {named}; no "
            "target can be set over them. Where axes of inputs are open, fix these with --input-shape.",
            soft_wrap=True,
        )
    if report.other_activations:
        console.print(f"Not counted, and left as they are: {', '.join(report.other_activations)}.", soft_wrap=True)


def _by_reason(report: AnalysisReport) -> dict[tuple[bool, str], list[str]]:
    """The names of the sites that one reason stands against, by whether they are removable and by the reason."""
    found: dict[tuple[bool, str], list[str]] = {}
    for site in report.sites:
        if site.reason:
            found.setdefault((site.removable, site.reason), []).append(printable(site.name))
    return found


def print_sensitivity(report: SensitivityReport) -> None:
    """The damage of every candidate, site by site."""
    console = terminal.console()
    table = make_table(console, "site", "size", "sensitivity", "best merger", "its damage", folded=(0, 3))
    for site in report.sites:
        best = site.best_merger
        table.add_row(
            printable(site.name),
            count(site.size),
            number(site.sensitivity),
            printable(best or "-"),
            number((site.damages or {}).get(best or "")),
        )
    show_table(console, table)
    console.print(
        f"Damage ({in_words(report.measure)}) on {report.samples} held-out samples of {printable(report.source)}.",
        soft_wrap=True,
    )


def print_result(report: Report, written: Mapping[str, Path | None]) -> None:
    """Before and after, what was written where, and the verdict.

    Args:
        report: of the run.
        written: the files beside the model by what they are, None where one was not written.
    """
    console = terminal.console()
    if report.optimized is not None:
        show_table(console, comparison_table(console, report.original, report.optimized, speed=report.speed))
    if report.fidelity is not None:
        print_fidelity(console, report.fidelity)
        print_kinds(console, report)
    verdict = report.verdict
    print_lost(console, verdict)
    for remark in verdict.remarks:
        console.print(f"Note: {printable(remark)}.")
    if report.output is not None:
        console.print(f"Written: {printable(report.output.path)}", soft_wrap=True)
    for what, path in written.items():
        if path is not None:
            console.print(f"{what}: {printable(str(path))}", soft_wrap=True)
    print_verdict(console, verdict)


def print_plan(report: PlanReport) -> None:
    """What a plan would do, which nothing was done of."""
    console = terminal.console()
    sites = {decision.name: decision for decision in report.decisions}
    squared = any(change.squares for change in report.changes)
    split = any(change.weight_error is not None for change in report.changes)
    counted = ("ReLUs saved", *["squares added"] * squared, "MACs saved")
    headers = ("sites", "change", "kernel", *counted, *["weight error"] * split, "damage")
    table = make_table(console, *headers)
    for change in report.changes:
        table.add_row(
            printable(", ".join([name for name in change.sites if name in sites] or [change.output])),
            printable(change.title),
            "x".join(map(str, change.kernel or ())) or "-",
            count(change.relus_saved),
            *[count(change.squares)] * squared,
            count(change.macs_saved),
            *[number(change.weight_error)] * split,
            number(change.damage),
        )
    show_table(console, table)
    show_table(console, comparison_table(console, report.original, report.predicted, "predicted"))
    console.print(
        f"Damages ({in_words(report.measure)}) add up to {number(report.damage)}, each measured alone on "
        f"{report.samples} held-out samples of {printable(report.source)}."
    )
    console.print("Nothing was carried out. A run carries out several plans and keeps the best.")


# What `pareto --by` may limit beside ReLUs and prices, in words.
_COUNTED = {"macs": "MACs", "params": "parameters", "size": "bytes of the file"}


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def print_pareto(report: ParetoReport) -> None:
    """One line a target."""
    console = terminal.console()
    labelled = any(point.accuracy_lost is not None for point in report.points)
    squared = any(
        cost.squares for cost in (report.original, *(p.optimized for p in report.points)) if cost is not None
    )
    before = report.original
    paid = before.price is not None
    weights = report.by in ("params", "size")
    whole = {"macs": before.macs, "params": before.params, "size": before.size_bytes}.get(report.by, before.price)
    table = make_table(
        console,
        "target",
        *["price"] * paid,
        "ReLUs kept",
        *["squares"] * squared,
        "MACs",
        *["parameters"] * weights,
        "depth",
        "latency",
        "same class, %",
        "KL",
        "points lost" if labelled else "",
    )
    for point in report.points:
        after, fidelity = point.optimized, point.fidelity
        if after is None or fidelity is None:
            continue
        latency = None
        if after.latency_ms is not None and before.latency_ms:
            latency = after.latency_ms / before.latency_ms
        table.add_row(
            number(_share(point.target_relus, before.relus) if whole is None else _share(point.target, whole), 3),
            *[number(_share(after.price, before.price), 3)] * paid,
            number(after.relus / before.relus if before.relus else None, 3),
            *[count(after.squares)] * squared,
            number(after.macs / before.macs if before.macs else None, 3),
            *[number(_share(after.params, before.params), 3)] * weights,
            f"{before.depth} -> {after.depth}",
            number(latency, 3),
            "-" if fidelity.agreement is None else f"{100 * fidelity.agreement:.2f}",
            number(fidelity.kl),
            "" if point.accuracy_lost is None else f"{100 * point.accuracy_lost:.2f}",
        )
    show_table(console, table)
    for point in report.points:
        if point.reason is not None:
            target = f"{count(point.target_relus)} ReLUs"
            if whole is not None:
                target = f"{point.target:.4g} {before.price_of if paid else _COUNTED[report.by]}"
            console.print(f"{target}: {printable(point.reason)}", soft_wrap=True)
    if before.price_of is not None:
        console.print(f"Price: {before.price_of}, an estimate; the original costs {before.price:.4g}.")
    if not report.validated:
        console.print("Not validated: calibrated on synthetic images, no accuracy is known.", style="yellow")
    if report.verdict is not None:
        print_verdict(console, report.verdict)
