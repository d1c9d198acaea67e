"""Line charts as SVG, without a plotting library: few enough marks that one is not worth its size."""

import math
from collections.abc import Collection, Mapping, Sequence
from xml.sax import saxutils

from onnxshallow.report.schema.reports import ParetoReport
from onnxshallow.text import printable

__all__ = ["line_chart", "pareto_chart"]

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 40, 56
# Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = """
  .chart text { font: 13px system-ui, sans-serif; fill: #222 } .chart .title { font-weight: 600 }
  .chart .grid { stroke: #ddd } .chart rect { fill: #fff } .chart polyline { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .chart text { fill: #ddd } .chart .grid { stroke: #444 } .chart rect { fill: #161616 }
  }
"""


def line_chart(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    scattered: Collection[str] = (),
) -> str:
    """A chart of some curves.

    Args:
        series: points (x, y) by the curve's name; at least one in all.
        title: above the chart.
        x_label: below the horizontal axis.
        y_label: beside the vertical axis.
        scattered: names of those whose points no line connects.

    Returns:
        The text of an SVG file, readable on light and dark grounds.

    Raises:
        ValueError: there is no finite point.
    """
    points = [p for curve in series.values() for p in curve if all(map(math.isfinite, p))]
    if not points:
        raise ValueError("There is nothing to draw.")
    x_ticks, y_ticks = _ticks([x for x, _ in points]), _ticks([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    marks = [f'<text class="title" x="{_LEFT}" y="22">{_escape(title)}</text>']
    for tick in x_ticks:
        x, y = place(tick, y_ticks[0])
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{y:.1f}"/>')
        marks.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        x, y = place(x_ticks[0], tick)
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    marks.append(f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 12}" text-anchor="middle">{_escape(x_label)}</text>')
    middle = _HEIGHT / 2
    marks.append(
        f'<text x="16" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 16 {middle:.0f})">'
        f"{_escape(y_label)}</text>"
    )
    for number, (name, curve) in enumerate(series.items()):
        places = [place(*p) for p in curve if all(map(math.isfinite, p))]
        marks += _curve(name, places, number, connected=name not in scattered)
    body = "\n".join(marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{_escape(title)}">\n'
        f'<style>{_STYLE}</style>\n<rect width="{_WIDTH}" height="{_HEIGHT}"/>\n{body}\n</svg>\n'
    )


def _escape(text: str) -> str:
    """Text as SVG shows it, between tags or in quotes; no tag in it acts, and control characters are spelt out."""
    return saxutils.escape(printable(text), {'"': "&quot;"})


def _curve(name: str, places: Sequence[tuple[float, float]], number: int, connected: bool) -> list[str]:
    """One curve and its line of the legend."""
    colour = _COLOURS[number % len(_COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
    y = _TOP + 14 + 18 * number
    legend = [
        f'<circle cx="{_WIDTH - _RIGHT - 12}" cy="{y - 4}" r="4" fill="{colour}"/>',
        f'<text x="{_WIDTH - _RIGHT - 22}" y="{y}" text-anchor="end">{_escape(name)}</text>',
    ]
    line = [f'<polyline points="{path}" stroke="{colour}"/>'] if connected else []
    return [*line, *dots, *legend]


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
    curves: dict[str, list[tuple[float, float]]] = {"ReLUs": [], "MACs": [], "latency": []}
    for point in report.points:
        after, fidelity = point.optimized, point.fidelity
        if after is None or fidelity is None:
            continue
        lost = fidelity.loss.value if point.accuracy_lost is None else point.accuracy_lost
        kept = {
            "ReLUs": after.relus / max(before.relus, 1),
            "MACs": after.macs / max(before.macs, 1),
            "latency": (after.latency_ms or math.nan) / (before.latency_ms or math.nan),
        }
        for name, share in kept.items():
            curves[name].append((share, 100 * lost))
    y_label = "points of accuracy lost" if labelled else "% of samples that change"
    if not labelled and not any(p.fidelity and p.fidelity.agreement is not None for p in report.points):
        y_label = "relative output error, %"
    return line_chart(
        {name: sorted(points, reverse=True) for name, points in curves.items()},
        title="What is lost",
        x_label="share of the original that is kept",
        y_label=y_label,
    )
