"""Line charts as SVG, without a plotting library: few enough marks that one is not worth its size."""

import math
from collections.abc import Collection, Mapping, Sequence
from xml.sax import saxutils

from onnxshallow.report.schema.reports import ParetoReport
from onnxshallow.text import printable

__all__ = ["Svg", "line_chart", "pareto_chart"]

_WIDTH, _PLOT_HEIGHT = 640, 304
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 56
# A line of the legend, and the margin at the right for the names of levels.
_LEGEND_LINE, _LEVELS_RIGHT = 22, 124
# Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = """
  .chart text { font: 13px system-ui, sans-serif; fill: #222 } .chart .title { font-weight: 600 }
  .chart .grid { stroke: #ddd } .chart rect { fill: #fff } .chart polyline { fill: none; stroke-width: 2 }
  .chart .level { stroke: #888; stroke-dasharray: 5 4 }
  @media (max-width: 40rem) { .chart text { font-size: 17px } }
  @media (prefers-color-scheme: dark) {
    .chart text { fill: #ddd } .chart .grid { stroke: #444 } .chart rect { fill: #161616 }
  }
"""


class Svg(str):
    """The text of an SVG file, which a notebook shows as a picture."""

    def _repr_svg_(self) -> str:
        return str(self)


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    scattered: Collection[str] = (),
    levels: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """A chart of some curves, with the legend above them.

    Args:
        series: points (x, y) by the curve's name; at least one in all.
        title: above the chart.
        x_label: below the horizontal axis.
        y_label: beside the vertical axis.
        scattered: names of those whose points no line connects.
        levels: what values of y are called, from where to where by name; written at the right.

    Returns:
        The text of an SVG file, readable on light and dark grounds.

    Raises:
        ValueError: there is no finite point.
    """
    points = [p for curve in series.values() for p in curve if all(map(math.isfinite, p))]
    if not points:
        raise ValueError("There is nothing to draw.")
    x_ticks, y_ticks = _ticks([x for x, _ in points]), _ticks([y for _, y in points])
    top, right = _TOP + _LEGEND_LINE * len(series), _WIDTH - (_LEVELS_RIGHT if levels else _RIGHT)
    bottom = top + _PLOT_HEIGHT
    height = bottom + _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * (right - _LEFT), bottom - up * _PLOT_HEIGHT

    marks = [f'<text class="title" x="{_LEFT}" y="22">{_escape(title)}</text>']
    for tick in x_ticks:
        x, _ = place(tick, y_ticks[0])
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        marks.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        x, y = place(x_ticks[0], tick)
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    marks.append(
        f'<text x="{(_LEFT + right) / 2:.0f}" y="{height - 10}" text-anchor="middle">{_escape(x_label)}</text>'
    )
    middle = (top + bottom) / 2
    marks.append(
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        f"{_escape(y_label)}</text>"
    )
    for name, (low, high) in (levels or {}).items():
        low, high = max(low, y_ticks[0]), min(high, y_ticks[-1])
        if low < high:
            (_, y), (_, upper) = place(x_ticks[0], low), place(x_ticks[0], high)
            marks += _level(name, right, y, upper, bounded=low > y_ticks[0])
    for number, (name, curve) in enumerate(series.items()):
        places = [place(*p) for p in curve if all(map(math.isfinite, p))]
        marks += _curve(name, places, number, connected=name not in scattered)
    body = "\n".join(marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{_escape(title)}">\n'
        f'<style>{_STYLE}</style>\n<rect width="{_WIDTH}" height="{height}"/>\n{body}\n</svg>\n'
    )


def _escape(text: str) -> str:
    """Text as SVG shows it, between tags or in quotes; no tag in it acts, and control characters are spelt out."""
    return saxutils.escape(printable(text), {'"': "&quot;"})


def _curve(name: str, places: Sequence[tuple[float, float]], number: int, connected: bool) -> list[str]:
    """One curve and its line of the legend."""
    colour = _COLOURS[number % len(_COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    y = _TOP + _LEGEND_LINE * number + 4
    legend = [
        f'<circle cx="{_LEFT + 5}" cy="{y}" r="4" fill="{colour}"/>',
        f'<text x="{_LEFT + 16}" y="{y + 5}">{_escape(name)}</text>',
    ]
    line = [f'<polyline points="{path}" stroke="{colour}"/>'] if connected else []
    return [*line, *dots, *legend]


def _level(name: str, right: int, low: float, high: float, bounded: bool) -> list[str]:
    """The name of a level beside what is seen of it, from `low` up to `high`, and a line where it begins."""
    line = f'<line class="level" x1="{_LEFT}" x2="{_WIDTH}" y1="{low:.1f}" y2="{low:.1f}"/>'
    text = f'<text x="{right + 8}" y="{(low + high) / 2 + 4:.1f}">{_escape(name)}</text>'
    return [line] * bounded + [text] * (low - high >= _LEGEND_LINE)


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers, evenly spaced, that enclose `values`."""
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if span / (factor * step) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def pareto_chart(report: ParetoReport) -> str:
    """What is lost against what is kept; against ReLUs, multiply-adds and latency at once.

    Raises:
        ValueError: no target was reached.
    """
    before = report.original
    labelled = any(point.accuracy_lost is not None for point in report.points)
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in report.points:
        after, fidelity = point.optimized, point.fidelity
        if after is None or fidelity is None:
            continue
        lost = fidelity.loss.value if point.accuracy_lost is None else point.accuracy_lost
        kept = {
            "ReLUs": after.relus / max(before.relus, 1),
            "MACs": after.macs / max(before.macs, 1),
            "latency": (after.latency_ms or math.nan) / (before.latency_ms or math.nan),
            **({"parameters": after.params / max(before.params, 1)} if report.by in ("params", "size") else {}),
            **({} if before.price is None else {"price": (after.price or 0.0) / max(before.price, 1e-12)}),
        }
        for name, share in kept.items():
            curves.setdefault(name, []).append((share, 100 * lost))
    y_label = "points of accuracy lost" if labelled else "% of samples that change"
    if not labelled and not any(p.fidelity and p.fidelity.agreement is not None for p in report.points):
        y_label = "relative output error, %"
    return line_chart(
        {name: sorted(points, reverse=True) for name, points in curves.items() if points},
        title="What is lost",
        x_label="share of the original that is kept",
        y_label=y_label,
    )
