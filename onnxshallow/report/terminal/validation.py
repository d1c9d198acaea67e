"""What `validate` found, on the terminal."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from onnxshallow.report.schema.reports import ValidationReport
from onnxshallow.report.schema.sections import PartingReport
from onnxshallow.report.terminal import console as terminal
from onnxshallow.report.terminal.tables import (
    count,
    make_table,
    number,
    print_fidelity,
    print_kinds,
    print_lost,
    print_verdict,
    show_table,
)
from onnxshallow.text import printable
from onnxshallow.validation.outputs import OutputDifference
from onnxshallow.validation.user_metric import MetricResult

__all__ = ["print_validation"]

_LEAST_SHOWN, _MOST_BLOCKS = 1e-7, 8


def print_validation(report: ValidationReport) -> None:
    """Accuracy, fidelity, the user's metrics and the gates of two models."""
    console = terminal.console()
    before, after = report.original_accuracy, report.optimized_accuracy
    if before is not None and after is not None:
        table = make_table(console, "", "original", "optimized")
        for label, a, b in (("top-1, %", before.top1, after.top1), ("top-5, %", before.top5, after.top5)):
            if a is not None and b is not None:
                table.add_row(label, f"{100 * a:.2f}", f"{100 * b:.2f}")
        intervals = [" to ".join(f"{100 * value:.2f}" for value in x.top1_interval) for x in (before, after)]
        table.add_row("top-1, 95 % interval", *intervals)
        show_table(console, table)
    print_lost(console, report.verdict)
    print_fidelity(console, report.fidelity)
    print_kinds(console, report)
    if report.fidelity.outputs:
        show_table(console, _outputs_table(console, report.fidelity.outputs))
    _print_changed(console, report)
    if report.parting is not None:
        _print_parting(console, report.parting)
    if report.metrics:
        show_table(console, _metrics_table(console, report.metrics))
    for gate in report.gates:
        at_least = gate.name == "min-agreement"
        relation = (">=" if at_least else "<=") if gate.met else "<" if at_least else ">"
        state, source = "holds" if gate.met else "IS BROKEN", ", the default" if gate.default else ""
        console.print(
            f"--{gate.name} {state}: {number(gate.value)} {relation} {gate.limit:g}{source}.",
            style="green" if gate.met else "red",
        )
    for remark in report.verdict.remarks:
        console.print(f"Note: {printable(remark)}.", soft_wrap=True)
    print_verdict(console, report.verdict)


def _print_parting(console: Console, parting: PartingReport) -> None:
    """How far each tensor that differs is off, with a bar that has a block for each factor of ten from 1e-7 on."""
    table = make_table(console, "tensor", "made by", "relative error", "", folded=(0,))
    different = [each for each in parting.tensors if each.relative_error != 0]
    for each in different:
        beyond = not each.relative_error <= parting.tolerance
        blocks = 0 if each.relative_error <= _LEAST_SHOWN else round(math.log10(each.relative_error / _LEAST_SHOWN))
        bar = "█" * min(blocks, _MOST_BLOCKS) if math.isfinite(each.relative_error) else "not finite"
        style = "red" if beyond else None
        table.add_row(printable(each.name), each.op, number(each.relative_error), bar, style=style)
    if different:
        show_table(console, table)
    if equal := len(parting.tensors) - len(different):
        console.print(f"{equal} of {len(parting.tensors)} tensors that both make are the same.")
    console.print(printable(parting.in_words), soft_wrap=True)


def _outputs_table(console: Console, outputs: Sequence[OutputDifference]) -> Table:
    integers = any(output.equal is not None for output in outputs)
    table = make_table(
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


def _metrics_table(console: Console, metrics: Sequence[MetricResult]) -> Table:
    table = make_table(console, "metric", "original", "optimized", "difference", "95 % interval")
    for metric in metrics:
        interval = metric.difference_interval
        table.add_row(
            printable(metric.name),
            *(number(value) for value in (metric.original, metric.optimized, metric.difference)),
            "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
        )
    return table
