"""What `bench` found, on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from onnxshallow.report.schema.engine import EngineReport
from onnxshallow.report.schema.reports import BenchReport, PrivateReport
from onnxshallow.report.terminal import console as terminal
from onnxshallow.report.terminal.tables import count, make_table, number, show_table
from onnxshallow.text import printable

__all__ = ["print_bench"]


def print_bench(report: BenchReport) -> None:
    """Latency of models side by side, and what private inference is estimated to cost."""
    console = terminal.console()
    if report.measurements:
        show_table(console, _bench_table(console, report))
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
    for protocol in dict.fromkeys(run.protocol for run in report.engine):
        _print_engine(console, report, [run for run in report.engine if run.protocol == protocol])
    if report.fixed_point:
        _print_fixed_point(console, report)
    for note in report.notes:
        console.print(f"Note: {printable(note)}", soft_wrap=True)


def _bench_table(console: Console, report: BenchReport) -> Table:
    table = make_table(
        console, "model", "batch", "threads", "median ms", "95 % interval", "samples/s", "times as fast",
        "95 % interval", "peak MB", "file MB",
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


def _circumstances(found: PrivateReport | EngineReport) -> str:
    """What figures of private inference hold for."""
    link = f"{1000 * found.rtt:g} ms round trip, {found.bandwidth / 1e6:g} Mbit/s"
    return f"one sample, {found.weights} weights, {link}"


def _print_private(console: Console, report: BenchReport, estimates: Sequence[PrivateReport]) -> None:
    """One protocol's estimates, one model a line, and what they leave out."""
    first = estimates[0]
    console.print(
        f"\nEstimate, not a measurement: private inference by {first.title}, {_circumstances(first)}.",
        soft_wrap=True,
    )
    table = make_table(
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
    show_table(console, table)
    alike = all(row.not_counted == first.not_counted for row in estimates)
    for row in estimates[:1] if alike else estimates:
        of = "" if alike else f" for {printable(report.models[row.model].path)}"
        console.print(f"Not counted{of}: {'; '.join(map(printable, row.not_counted))}.", soft_wrap=True)
    console.print(f"Sources: {'; '.join(first.sources)}.", soft_wrap=True)


def _print_engine(console: Console, report: BenchReport, runs: Sequence[EngineReport]) -> None:
    """One protocol's measurements, one model a line, each beside its estimate."""
    first = runs[0]
    console.print(
        f"\nMeasured with {first.engine.upper()}: private inference by {first.title}, {_circumstances(first)}.",
        soft_wrap=True,
    )
    table = make_table(
        console, "model", "MB", "estimate / measured", "messages", "estimate / measured", "seconds", "own work",
        "same class", "largest error", "of",
    )  # fmt: skip
    for run in runs:
        table.add_row(
            printable(report.models[run.model].path),
            f"{run.bytes / 1e6:.3f}",
            number(_ratio(run.bytes_estimated, run.bytes), 3),
            count(run.messages),
            number(_ratio(run.messages_estimated, run.messages), 3),
            f"{run.seconds:.3f}",
            f"{run.work_seconds:.3f}",
            f"{run.agreed} of {run.samples}",
            number(run.largest_error, 4),
            number(run.largest_output, 2),
        )
    show_table(console, table)
    if first.synthetic:
        console.print("The samples are made up: name real ones with --data.", soft_wrap=True)


def _ratio(estimated: float | None, measured: float) -> float | None:
    return estimated / measured if estimated is not None and measured else None


def _print_fixed_point(console: Console, report: BenchReport) -> None:
    """What fixed point makes of each model, one a line."""
    first = report.fixed_point[0]
    console.print(
        f"\nSimulated: fixed point with {first.fraction_bits} bits after the point, {first.samples} made-up samples, "
        "each model against itself in floating point.",
        soft_wrap=True,
    )
    table = make_table(
        console, "model", "same class, %", "largest error", "of", "bits before the point", "least weight that matters"
    )
    for row in report.fixed_point:
        table.add_row(
            printable(report.models[row.model].path),
            "-" if row.agreement is None else f"{100 * row.agreement:.2f}",
            f"{row.error:.3g}",
            f"{row.largest_output:.3g}",
            number(max((site.bits for site in row.sites if site.bits is not None), default=None), 0),
            f"{min((each.smallest for each in row.weights), default=0.0):.3g}",
        )
    show_table(console, table)
    for row in report.fixed_point:
        if row.finding is not None:
            console.print(f"{printable(report.models[row.model].path)}: {printable(row.finding)}", soft_wrap=True)
