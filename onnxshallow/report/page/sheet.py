"""A page of parts with a chart and a table each, in the dress of `optimize`'s; what the other commands show.

Like that page it is one file that needs nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from onnxshallow.report.page.html import read_template, wrapped
from onnxshallow.text import printable

__all__ = ["Cell", "Column", "PagePart", "Sheet", "number_cell", "sheet_page"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        number: whether it holds numbers, which stand at the right.
        wide: whether it is left out where there is little room, as on a phone.
    """

    title: str
    number: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        value: what it is sorted by, in a column of numbers.
        bar: length of a bar below, from 0 to 1; None for no bar.
    """

    text: str
    value: float | None = None
    bar: float | None = None


@dataclass(frozen=True)
class PagePart:
    """A part of a page.

    Attributes:
        title: its heading.
        text: what is said before all else.
        chart: an SVG.
        columns: of the table; the first names the row.
        rows: of the table, a cell for each column.
    """

    title: str
    text: str = ""
    chart: str | None = None
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Cell]] = ()


@dataclass(frozen=True)
class Sheet:
    """A page.

    Attributes:
        title: what it is of.
        lead: the one sentence that matters most.
        parts: what follows.
        notes: what else is to be said.
        style: of the lead: `met`, `refused` or neither.
        version: of onnxshallow.
    """

    title: str
    lead: str
    parts: Sequence[PagePart]
    notes: Sequence[str] = field(default=())
    style: str = ""
    version: str = ""


def number_cell(value: float | None, text: str | None = None, *, most: float | None = None) -> Cell:
    """A cell with a number.

    Args:
        value: the number; None where there is none.
        text: how it is written; three significant digits by default.
        most: what a bar of the whole width stands for; None for no bar.
    """
    if value is None:
        return Cell("\N{EN DASH}")
    bar = min(max(value / most, 0.0), 1.0) if most else None
    return Cell(f"{value:.3g}" if text is None else text, value, bar)


def sheet_page(sheet: Sheet) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update({"plain": printable, "wrapped": wrapped, "zip": zip})
    return environment.from_string(read_template("sheet.html.j2")).render(
        sheet=sheet,
        svg=Markup,
        style=Markup(read_template("report.css")),
        script=Markup(read_template("report.js")),
    )
