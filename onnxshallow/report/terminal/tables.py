"""What the tables on the terminal share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console, JustifyMethod
from rich.table import Table

from onnxshallow.report.schema.figures import compared, count, lost, number
from onnxshallow.text import printable

if TYPE_CHECKING:  # `doctor` shows tables where what these need is missing
    from onnxshallow.report.schema.reports import CostReport, Report, ValidationReport, Verdict
    from onnxshallow.validation.compare import Fidelity
    from onnxshallow.validation.speed import Speed

__all__ = [
    "comparison_table",
    "count",
    "make_table",
    "number",
    "print_fidelity",
    "print_kinds",
    "print_lost",
    "print_verdict",
    "show_table",
]

# Columns from which numbers have room to stay on one line.
_WIDE = 72


def make_table(console: Console, *columns: str, folded: Sequence[int] = (0,)) -> Table:
    """A table of text, then numbers; the columns that are `folded` give way, in a narrow terminal all of them."""
    narrow = console.width < _WIDE
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 0) if narrow else (0, 1))
    for index, column in enumerate(columns):
        justify: JustifyMethod = "left" if index == 0 else "right"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=not narrow and index not in folded)
    return table


def show_table(console: Console, table: Table) -> None:
    """Print a table; one whose numbers do not fit side by side is printed row by row, a line a column."""
    unlimited = console.options.update_width(10_000)
    if console.measure(table, options=unlimited).minimum <= console.width:
        console.print(table)
        return
    headers = [f"{column.header}:" for column in table.columns]
    width = max(map(len, headers)) + 1
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        console.print()
        for header, cell in zip(headers, cells, strict=True):
            if cell:
                console.print(f"{header:<{width}}{cell}", soft_wrap=True)
    console.print()


def comparison_table(
    console: Console,
    original: "CostReport",
    optimized: "CostReport",
    what: str = "optimized",
    speed: "Speed | None" = None,
) -> Table:
    """Two models' figures, and the ratios between them; of the speed, which is one, its interval."""
    table = make_table(console, "", "original", what, "ratio")
    for row in compared(original, optimized, speed):
        table.add_row(*row)
    return table


def print_lost(console: Console, verdict: "Verdict") -> None:
    """The accuracy that was lost, where it is known."""
    if sentence := lost(verdict):
        console.print(sentence)


def print_verdict(console: Console, verdict: "Verdict") -> None:
    """The one line that answers whether the model may be shipped; the last that a command prints."""
    proved = verdict.validated and verdict.status == "met"
    style = "green" if proved else "yellow" if verdict.exit_code == 0 else "red"
    console.print(printable(verdict.line), style=style, soft_wrap=True)


def print_fidelity(console: Console, fidelity: "Fidelity") -> None:
    """How close the outputs are."""
    parts = [f"relative error of {name!r} {number(value)}" for name, value in fidelity.relative_error.items()]
    parts = [*_by_kind(fidelity), *parts]
    samples = f"{fidelity.samples} samples of {printable(fidelity.source)}"
    console.print(f"Against the original on {samples}: {', '.join(parts)}.")


def _by_kind(fidelity: "Fidelity") -> list[str]:
    """What is told beside relative errors: of classes, masks and embeddings."""
    parts = []
    if fidelity.agreement is not None:
        parts = [f"same class for {100 * fidelity.agreement:.2f} %", f"KL {number(fidelity.kl)}"]
    heads = [one for one in fidelity.outputs if one.kind == "classes" and one.agreement is not None]
    masks = [one for one in fidelity.outputs if one.kind == "mask" and one.agreement is not None]
    parts += [f"at {one.name!r} for {100 * (one.agreement or 0):.2f} %" for one in heads if len(heads) > 1]
    parts += [f"same class for {100 * (one.agreement or 0):.2f} % of the pixels of {one.name!r}" for one in masks]
    return parts + [
        f"cosine of {one.name!r} {number(one.cosine)}" for one in fidelity.outputs if one.kind == "embedding"
    ]


def print_kinds(console: Console, report: "Report | ValidationReport") -> None:
    """What the outputs are taken for, and which of them the labels belong to where that is no matter of course."""
    outputs = () if report.fidelity is None else report.fidelity.outputs
    said = [f"{printable(one.name)!r} as {one.kind} ({printable(one.reason)})" for one in outputs if one.kind]
    if said:
        console.print(f"Read {', '.join(said)}.", soft_wrap=True)
    if report.labels_of is not None:
        console.print(f"The labels are those of {printable(report.labels_of)!r}.", soft_wrap=True)
    if report.unused_labels:
        console.print("The labels were not used: they fit no output.", style="yellow", soft_wrap=True)
