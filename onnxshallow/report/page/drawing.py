"""A network drawn from input to output: one row a node, its edges as lines that run down the rows.

What one change of the plan replaced is one row. A line keeps its lane until its last reader; a node stands in the
lane of the first of its inputs that ends there, so that a chain is a straight line and a residual a line beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnxshallow.report.schema.reports import NodeReport

__all__ = ["ROW_HEIGHT", "Row", "draw_row", "lay_out", "widest"]

ROW_HEIGHT = 34
"""Pixels from row to row."""
_PITCH, _MARGIN = 16, 14


@dataclass(frozen=True)
class Row:
    """One row of the drawing.

    Attributes:
        nodes: what it stands for: one node, or all that one change replaced.
        lane: where the node stands, counted from the left.
        before: lanes of lines that come from above.
        joins: those of `before` that lead into the node.
        after: lanes of lines that go on below.
    """

    nodes: tuple[NodeReport, ...]
    lane: int
    before: tuple[int, ...]
    joins: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def main(self) -> NodeReport:
        """The node whose output the row makes."""
        return self.nodes[-1]

    @property
    def width(self) -> int:
        """How many lanes the row needs."""
        return 1 + max((self.lane, *self.before, *self.after))


def lay_out(nodes: Sequence[NodeReport]) -> list[Row]:
    """Rows for a network's nodes.

    Args:
        nodes: each after those that it reads, as `node_reports` gives them.
    """
    groups = _groups(nodes)
    row_of = {position: number for number, group in enumerate(groups) for position in group}
    inputs = [_outside(nodes, group, row_of) for group in groups]
    readers = [0] * len(groups)
    for given in inputs:
        for source in given:
            readers[source] += 1
    lanes: list[int | None] = []
    rows = []
    for number, (group, given) in enumerate(zip(groups, inputs, strict=True)):
        before = tuple(lane for lane, source in enumerate(lanes) if source is not None)
        joins = tuple(lane for lane in before if lanes[lane] in given)
        for lane in joins:
            ending = lanes[lane]
            assert ending is not None
            readers[ending] -= 1
            if readers[ending] == 0:
                lanes[lane] = None
        own = next((lane for lane in joins if lanes[lane] is None), None)
        if own is None:
            own = lanes.index(None) if None in lanes else len(lanes)
        if own == len(lanes):
            lanes.append(None)
        lanes[own] = number if readers[number] else None
        after = tuple(lane for lane, source in enumerate(lanes) if source is not None)
        rows.append(Row(tuple(nodes[position] for position in group), own, before, joins, after))
    return rows


def _groups(nodes: Sequence[NodeReport]) -> list[list[int]]:
    """Positions of the nodes of each row; a row stands where the last of its nodes does.

    A change whose nodes are read by others in between is drawn node by node.
    """
    members: dict[str, list[int]] = {}
    for position, node in enumerate(nodes):
        if node.change is not None:
            members.setdefault(node.change, []).append(position)
    last = {key: positions[-1] for key, positions in members.items()}
    apart = {
        nodes[source].change
        for position, node in enumerate(nodes)
        for source in node.inputs
        if nodes[source].change != node.change and position < last.get(nodes[source].change or "", -1)
    }
    groups = []
    for position, node in enumerate(nodes):
        if node.change is None or node.change in apart:
            groups.append([position])
        elif position == last[node.change]:
            groups.append(members[node.change])
    return groups


def _outside(nodes: Sequence[NodeReport], group: Sequence[int], row_of: dict[int, int]) -> set[int]:
    """The rows that a row reads."""
    own = row_of[group[0]]
    return {row_of[source] for position in group for source in nodes[position].inputs} - {own}


def draw_row(row: Row, width: int, glyph: str) -> str:
    """The lines and the node of a row, as SVG, and what continues them in a row that is higher than `ROW_HEIGHT`.

    Args:
        row: the row.
        width: lanes of the whole drawing.
        glyph: class of the mark, which says its shape: one of the kinds of `onnxshallow.report.page.view.DrawnRow`.
    """
    middle, x = ROW_HEIGHT // 2, _across(row.lane)
    paths = [_line(lane, 0, ROW_HEIGHT) for lane in row.before if lane in row.after and lane != row.lane]
    paths += [f"M{_across(lane)} 0C{_across(lane)} {middle} {x} 0 {x} {middle}" for lane in row.joins]
    if row.lane in row.after:
        paths.append(_line(row.lane, middle, ROW_HEIGHT))
    pixels = _across(width - 1) + _MARGIN
    lines = f'<path class="line" d="{"".join(paths)}"/>' if paths else ""
    top = (
        f'<svg class="lanes" viewBox="0 0 {pixels} {ROW_HEIGHT}" width="{pixels}" height="{ROW_HEIGHT}" '
        f'aria-hidden="true">{lines}{_mark(glyph, x, middle)}</svg>'
    )
    rest = "".join(_line(lane, 0, 1) for lane in row.after)
    return top + (
        f'<svg class="rest" viewBox="0 0 {pixels} 1" width="{pixels}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="line" d="{rest}"/></svg>'
    )


def _across(lane: int) -> int:
    return _MARGIN + _PITCH * lane


def _line(lane: int, top: int, bottom: int) -> str:
    return f"M{_across(lane)} {top}V{bottom}"


def _mark(glyph: str, x: int, y: int) -> str:
    shapes = {
        "layer": f'<rect x="{x - 5}" y="{y - 5}" width="10" height="10" rx="1"/>',
        "fused": f'<rect x="{x - 7}" y="{y - 10}" width="14" height="20" rx="5"/>',
        "join": f'<path d="M{x} {y - 5}L{x + 5} {y}L{x} {y + 5}L{x - 5} {y}Z"/>',
        "partial": f'<circle cx="{x}" cy="{y}" r="5.5"/><path d="M{x} {y - 5.5}A5.5 5.5 0 0 0 {x} {y + 5.5}Z"/>',
        "end": f'<path d="M{x - 6} {y - 4}H{x + 6}L{x} {y + 6}Z"/>',
    }
    shape = shapes.get(glyph, f'<circle cx="{x}" cy="{y}" r="5.5"/>')
    return f'<g class="{glyph}">{shape}</g>'


def widest(rows: Iterable[Row]) -> int:
    """Lanes of a whole drawing."""
    return max((row.width for row in rows), default=1)
