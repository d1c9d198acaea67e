"""Draw the rooms of the package as a house, from its imports: `python -m tools.draw_rooms`.

A floor holds the rooms that import from the floor below it at most; an arrow leads from a room to one that it imports
from, unless it gets there through another room as well (the transitive reduction). The numbers below the picture
count all of them.
"""

import argparse
import ast
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

__all__ = ["Rooms", "draw", "floors", "main", "read_rooms", "reduced"]

PACKAGE = "onnxshallow"
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "rooms.svg"

Rooms = Mapping[str, frozenset[str]]
"""By room, the rooms that it imports from."""

_WIDTH, _HEIGHT, _GAP, _MARGIN = 260, 54, 26, 16
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #222 } .name { font-weight: 600; font-size: 14px }
  .ground { fill: #fff } .room { fill: #eef3f8; stroke: #7a94ad } .arrow { stroke: #7a94ad; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .ground { fill: #161616 } .room { fill: #22303c; stroke: #8aa4bd } .arrow { stroke: #8aa4bd }
  }
"""


def read_rooms(package: str = PACKAGE) -> Rooms:
    """The rooms of an installed package: its folders and single modules, and what each imports."""
    graph = grimp.build_graph(package)
    rooms = sorted(graph.find_children(package))
    return {
        room.removeprefix(f"{package}."): frozenset(
            other.removeprefix(f"{package}.") for other in rooms if other != room and _imports(graph, room, other)
        )
        for room in rooms
        if not room.endswith(".__main__")
    }


def _imports(graph: grimp.ImportGraph, importer: str, imported: str) -> bool:
    own = {importer, *graph.find_descendants(importer)}
    others = {imported, *graph.find_descendants(imported)}
    return any(graph.find_modules_directly_imported_by(module) & others for module in own)


def floors(rooms: Rooms) -> list[list[str]]:
    """The rooms of each floor, the ground floor last.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    level: dict[str, int] = {}
    while len(level) < len(rooms):
        ready = [room for room, below in rooms.items() if room not in level and below <= level.keys()]
        if not ready:
            raise ValueError(f"There is a circle among {sorted(rooms.keys() - level.keys())}.")
        level.update({room: 1 + max((level[other] for other in rooms[room]), default=-1) for room in ready})
    return [sorted(room for room in rooms if level[room] == height) for height in range(max(level.values()), -1, -1)]


def reduced(rooms: Rooms) -> Rooms:
    """Without the arrows to rooms that are reached through others as well."""
    reached: dict[str, frozenset[str]] = {}
    for floor in reversed(floors(rooms)):
        for room in floor:
            reached[room] = rooms[room].union(*(reached[other] for other in rooms[room]))
    return {
        room: frozenset(other for other in below if not any(other in reached[via] for via in below))
        for room, below in rooms.items()
    }


def draw(rooms: Rooms, purposes: Mapping[str, str]) -> str:
    """The house as SVG.

    Args:
        rooms: what is drawn.
        purposes: a few words for each room.
    """
    storeys = floors(rooms)
    width = 2 * _MARGIN + max(map(len, storeys)) * (_WIDTH + _GAP) - _GAP
    height = 2 * _MARGIN + len(storeys) * (_HEIGHT + _GAP) + 8
    places: dict[str, tuple[float, float]] = {}
    for number, floor in enumerate(storeys):
        left = (width - len(floor) * (_WIDTH + _GAP) + _GAP) / 2
        for position, room in enumerate(floor):
            places[room] = left + position * (_WIDTH + _GAP), _MARGIN + number * (_HEIGHT + _GAP)
    arrows = [
        _arrow(places[room], places[other]) for room, below in reduced(rooms).items() for other in sorted(below)
    ]
    boxes = [_box(*places[room], room, purposes.get(room, "")) for room in rooms]
    total = f"{len(rooms)} rooms, {len(storeys)} floors, {sum(map(len, rooms.values()))} arrows with the implied ones"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{total}">\n'
        f"<style>{_STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="arrow" d="M1 1L7 4L1 7"/></marker></defs>\n'
        f'<rect class="ground" width="{width}" height="{height}"/>\n' + "\n".join([*arrows, *boxes]) + "\n"
        f'<text x="{width / 2:g}" y="{height - 10}" text-anchor="middle">{total}</text>\n</svg>\n'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    x, to_x, y = x + _WIDTH / 2, to_x + _WIDTH / 2, y + _HEIGHT
    if to_y - y > _GAP:  # past the floors between, along their side
        side = max(x, to_x) + _WIDTH / 2 + _GAP / 2 if x == to_x else to_x
        bend = f"C{side:g} {y:g} {side:g} {to_y:g}"
    else:
        bend = f"C{x:g} {y + _GAP / 2:g} {to_x:g} {to_y - _GAP / 2:g}"
    return f'<path class="arrow" marker-end="url(#tip)" d="M{x:g} {y:g}{bend} {to_x:g} {to_y:g}"/>'


def _box(x: float, y: float, name: str, purpose: str) -> str:
    words, lines = purpose.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 38:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    texts = "".join(
        f'<text x="{x + 10:g}" y="{y + 33 + 14 * number:g}">{escape(line)}</text>'
        for number, line in enumerate(lines[:2])
    )
    return (
        f'<rect class="room" x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text class="name" x="{x + 10:g}" y="{y + 17:g}">{escape(name)}</text>{texts}'
    )


def _purpose(room: str) -> str:
    """The first clause of a room's docstring."""
    folder = Path(__file__).resolve().parents[1] / PACKAGE / room
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].split(".")[0].split(":")[0].split(";")[0]


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Draw the rooms of the package, from its imports.")
    parser.add_argument(
        "--output", type=Path, default=PICTURE, help="the SVG to write [default: docs/images/rooms.svg]"
    )
    path = parser.parse_args().output
    rooms = read_rooms()
    path.write_text(draw(rooms, {room: _purpose(room) for room in rooms}), encoding="utf-8")
    print(f"{len(rooms)} rooms on {len(floors(rooms))} floors, {sum(map(len, rooms.values()))} arrows: {path}")


if __name__ == "__main__":
    main()
