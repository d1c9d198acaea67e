import re

import pytest

pytest.importorskip("grimp", reason="import-linter, which brings grimp, comes with the dev extra")

from tools import draw_rooms

TOWER = {
    "roof": frozenset({"attic", "cellar"}),
    "attic": frozenset({"kitchen"}),
    "kitchen": frozenset({"cellar"}),
    "hall": frozenset({"cellar"}),
    "cellar": frozenset(),
}


def test_a_room_stands_above_all_that_it_imports_from():
    assert draw_rooms.floors(TOWER) == [["roof"], ["attic"], ["hall", "kitchen"], ["cellar"]]


def test_a_circle_is_named():
    with pytest.raises(ValueError, match=r"circle among \['a', 'b'\]"):
        draw_rooms.floors({"a": frozenset("b"), "b": frozenset("a"), "c": frozenset()})


def test_an_arrow_that_others_imply_is_left_out():
    assert draw_rooms.reduced(TOWER)["roof"] == {"attic"}
    assert {room: below for room, below in draw_rooms.reduced(TOWER).items() if room != "roof"} == {
        room: below for room, below in TOWER.items() if room != "roof"
    }


def test_every_room_is_drawn_with_what_it_is_for():
    picture = draw_rooms.draw(TOWER, {"hall": "Where <guests> wait"})
    assert re.findall(r'class="name"[^>]*>(\w+)<', picture) == list(TOWER)
    assert "Where &lt;guests&gt; wait" in picture
    assert picture.count('marker-end="url(#tip)"') == 4
    assert "5 rooms, 4 floors, 5 arrows" in picture


def test_the_picture_shows_the_rooms_as_they_are(tmp_path, monkeypatch):
    """`python -m tools.draw_rooms` makes it anew."""
    made = tmp_path / "rooms.svg"
    monkeypatch.setattr("sys.argv", ["draw_rooms", "--output", str(made)])
    draw_rooms.main()
    assert made.read_text(encoding="utf-8") == draw_rooms.PICTURE.read_text(encoding="utf-8")
