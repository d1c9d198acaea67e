"""The report as one HTML file that needs nothing else: no network, no fonts, no library.

Everything on the page comes from the JSON report, so that a page can be made of a report that was kept.
"""

import re
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from onnxshallow.report.page.scale import level, levels_of
from onnxshallow.report.page.view import (
    answer,
    drawn_rows,
    frontier_chart,
    in_short,
    layer_rows,
    share,
    tiles,
    training_chart,
)
from onnxshallow.report.schema.reports import Report
from onnxshallow.search.sensitivity.measures import in_words
from onnxshallow.text import printable
from onnxshallow.validation.growth import BOUND

__all__ = ["html_report", "read_template", "wrapped"]

_THIN, _TIMES = "\N{NARROW NO-BREAK SPACE}", "\N{MULTIPLICATION SIGN}"


def html_report(report: Report) -> str:
    """The page for a report.

    Args:
        report: of `optimize` or `apply`.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Callable[..., str]] = {
        "count": _count,
        "brief": _brief,
        "percent": _percent,
        "number": _number,
        "shown": _shown,
        "plain": printable,
        "measured": in_words,
        "wrapped": wrapped,
        "level": lambda damage: level(levels_of(report), damage) or "",
    }
    environment.filters.update(filters)
    chart, learned = frontier_chart(report), training_chart(report)
    return environment.from_string(read_template("report.html.j2")).render(
        report=report,
        verdict=report.verdict,
        answer=answer(report),
        levels=levels_of(report),
        kept=next((plan for plan in report.plans if plan.chosen), None),
        tiles=[] if report.optimized is None else tiles(report.original, report.optimized, report.speed),
        rows=drawn_rows(report),
        layers=layer_rows(report),
        bound=BOUND,
        changes={site: in_short(change) for change in report.changes for site in change.sites},
        partial=any(decision.kept for decision in report.decisions),
        chart=None if chart is None else Markup(chart),
        learned=None if learned is None else Markup(learned),
        style=Markup(read_template("report.css")),
        script=Markup(read_template("report.js")),
        svg=Markup,
        share=share,
        most_macs=max((n.macs or 0 for n in (*report.original_nodes, *report.optimized_nodes)), default=0),
        most_relus=max((n.relus or 0 for n in report.original_nodes), default=0),
        most_damaging=max((d.least_damage or 0.0 for d in report.decisions), default=0.0),
    )


def read_template(name: str) -> str:
    """The text of a file beside the template of the page."""
    return resources.files("onnxshallow.report.page").joinpath("templates", name).read_text(encoding="utf-8")


def wrapped(name: str) -> Markup:
    """A name that may go on in the next line after each of its parts."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[/._:])", printable(name)))


def _count(value: float | None) -> str:
    """A whole number in groups of three."""
    return "?" if value is None else f"{round(value):,}".replace(",", _THIN)


def _brief(value: float) -> str:
    """A count that fits into a tile: three digits and a unit from ten millions on."""
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if value >= max(size, 1e7):
            return f"{value / size:.3g}{_THIN}{unit}"
    return _count(value)


def _percent(value: float | None, digits: int = 2) -> str:
    """A fraction as per cent, without the sign."""
    return "?" if value is None else f"{100 * value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _shown(value: Any) -> str:
    """A shape, a kernel or any option as text."""
    if isinstance(value, list | tuple):
        return _TIMES.join("?" if size is None else str(size) for size in value)
    return printable(str(value))
