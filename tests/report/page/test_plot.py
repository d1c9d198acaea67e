import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.report.page.plot import line_chart, pareto_chart
from onnxshallow.report.schema.reports import ParetoPoint, ParetoReport
from onnxshallow.validation.outputs import OutputDifference
from tests.report.schema.test_reports import COST, FIDELITY, FILE, changed

SVG = "{http://www.w3.org/2000/svg}"
# Where one curve is drawn, in units of the drawing; each further one takes a line of the legend.
LEFT, RIGHT, TOP, BOTTOM, LINE = 64, 624, 62, 366, 22

NASTY = ["a < b & c", "</text><script>", "\"quoted\" 'twice'", "größer", "]]>", "&amp;", ""]
EXAMPLES = [
    [0, 1], [0.25, 0.9], [-3, 5], [0.1, 0.1001], [12, 1e6], [-1e-6, -1e-9], [1e9, 1e9 + 1], [3], [0], [-0.07], [7, 7],
]  # fmt: skip


class Chart:
    """The parts of a drawing, which must be XML."""

    def __init__(self, text):
        self.root = ElementTree.fromstring(text)
        self.texts = [element.text or "" for element in self.root.iter(f"{SVG}text")]
        self.lines = [
            [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]
            for element in self.root.iter(f"{SVG}polyline")
        ]
        circles = [tuple(float(c.get(key)) for key in ("cx", "cy", "r")) for c in self.root.iter(f"{SVG}circle")]
        self.marks = [(x, y) for x, y, radius in circles if radius == 3.5]
        self.legend = [(x, y) for x, y, radius in circles if radius != 3.5]

    def ticks(self, axis):
        """Value and place of each tick of an axis, in order."""
        anchor, position = ("middle", "x") if axis == "x" else ("end", "y")
        found = []
        for element in self.root.iter(f"{SVG}text"):
            if element.get("text-anchor") == anchor and re.fullmatch(r"[-+.\de]+", element.text or ""):
                found.append((float(element.text), float(element.get(position)) - (4 if axis == "y" else 0)))
        return found


def chart(**series):
    return Chart(line_chart(series, title="A title", x_label="across", y_label="up"))


def of(xs, ys):
    return list(zip(xs, ys, strict=True))


def assert_inside(drawn):
    further = LINE * (len(drawn.legend) - 1)
    for x, y in drawn.marks:
        assert LEFT - 0.06 <= x <= RIGHT + 0.06
        assert TOP + further - 0.06 <= y <= BOTTOM + further + 0.06


# Curves.


def test_there_is_one_mark_a_point_and_one_line_a_curve():
    drawn = chart(a=of([1, 2, 3], [4, 5, 6]), b=of([1, 2], [6, 4]))
    assert len(drawn.marks) == 5
    assert [len(line) for line in drawn.lines] == [3, 2]
    assert drawn.marks == [*drawn.lines[0], *drawn.lines[1]]


def test_titles_labels_and_names_are_written():
    drawn = chart(first=[(0, 0)], second=[(1, 1)])
    assert {"A title", "across", "up", "first", "second"} <= set(drawn.texts)
    assert len(drawn.legend) == 2
    assert drawn.root.get("aria-label") == "A title"


@pytest.mark.parametrize("number", [1, 3, 7])
def test_the_legend_covers_no_point(number):
    drawn = chart(**{f"c{n}": [(0, 0), (n, 10 * n)] for n in range(number)})
    assert max(y for _, y in drawn.legend) < min(y for _, y in drawn.marks) - 3.5
    assert len({y for _, y in drawn.legend}) == number


LEVELS = {"low": (0, 2), "middle": (2, 8), "high": (8, math.inf)}


@pytest.mark.parametrize(("most", "named"), [(10, {"low", "middle", "high"}), (4, {"low", "middle"}), (1, {"low"})])
def test_levels_that_are_in_sight_are_named_beside_the_curves(most, named):
    drawn = Chart(line_chart({"a": [(0, 0), (1, most)]}, title="", x_label="", y_label="", levels=LEVELS))
    texts = [element for element in drawn.root.iter(f"{SVG}text") if element.text in LEVELS]
    assert {text.text for text in texts} == named
    assert all(float(text.get("x")) > max(x for x, _ in drawn.marks) for text in texts)
    bounds = [float(line.get("y1")) for line in drawn.root.iter(f"{SVG}line") if line.get("class") == "level"]
    ticks = dict(drawn.ticks("y"))
    assert bounds == [ticks[low] for low, _ in LEVELS.values() if 0 < low < most]


def test_right_is_more_and_up_is_more():
    ((x1, y1), (x2, y2)) = chart(a=of([1, 2], [10, 30])).lines[0]
    assert x1 < x2
    assert y1 > y2


def test_points_stay_in_their_order():
    (line,) = chart(a=of([3, 1, 2], [0, 1, 2])).lines
    assert sorted(range(3), key=lambda position: line[position][0]) == [1, 2, 0]


def test_a_point_at_a_tick_lies_on_its_line():
    drawn = chart(a=of([0, 1, 5], [-10, 0, 10]))
    ticks = dict(drawn.ticks("x")), dict(drawn.ticks("y"))
    assert drawn.marks == [(ticks[0][x], ticks[1][y]) for x, y in of([0, 1, 5], [-10, 0, 10])]


def test_curves_have_colours_of_their_own_up_to_six():
    drawn = chart(**{f"c{number}": [(number, 0)] for number in range(7)})
    colours = [element.get("stroke") for element in drawn.root.iter(f"{SVG}polyline")]
    assert len(set(colours)) == 6
    assert colours[6] == colours[0]


@pytest.mark.parametrize("name", NASTY)
def test_names_are_escaped(name):
    text = line_chart({name: [(0, 0)]}, title=name, x_label=f"x {name}", y_label=f"y {name}")
    drawn = Chart(text)
    assert drawn.texts.count(name) == 2
    assert {f"x {name}", f"y {name}"} <= set(drawn.texts)
    assert drawn.root.get("aria-label") == name
    assert not list(drawn.root.iter(f"{SVG}script"))


# Ticks.


def test_control_characters_are_spelt_out():
    svg = line_chart({"a\x1b[2J": [(0, 0)]}, title='t\0"', x_label="x\x08", y_label="y\n")
    assert r"a\x1b[2J" in svg
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == r't\x00"'


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([0.25, 0.9], [0.2, 0.4, 0.6, 0.8, 1]),
        ([0, 10], [0, 2, 4, 6, 8, 10]),
        ([0.3, 12], [0, 2.5, 5, 7.5, 10, 12.5]),
        ([-3, 5], [-4, -2, 0, 2, 4, 6]),
        ([0], [0, 0.2]),
    ],
)
def test_ticks_are_round_numbers(values, expected):
    drawn = chart(a=of(values, [0] * len(values)))
    assert [value for value, _ in drawn.ticks("x")] == expected


@pytest.mark.parametrize("values", EXAMPLES)
def test_ticks_enclose_the_values(values):
    drawn = chart(a=of(values, values))
    for axis in "xy":
        found = [value for value, _ in drawn.ticks(axis)]
        slack = 1e-5 * max(map(abs, found))  # six digits are shown
        assert found[0] - slack <= min(values) <= max(values) <= found[-1] + slack
    assert_inside(drawn)


numbers = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6))
def test_every_curve_lies_between_evenly_spaced_ticks(points):
    drawn = chart(a=points)
    assert len(drawn.marks) == len(points)
    assert_inside(drawn)
    for axis, ends in (("x", [LEFT, RIGHT]), ("y", [BOTTOM, TOP])):
        places = [place for _, place in drawn.ticks(axis)]
        assert 2 <= len(places) <= 8
        assert [places[0], places[-1]] == pytest.approx(ends, abs=0.06)
        steps = [after - before for before, after in pairwise(places)]
        assert steps == pytest.approx([steps[0]] * len(steps), abs=0.25)


@given(st.lists(numbers, min_size=2, max_size=6))
def test_places_are_in_proportion(values):
    low, high = min(values), max(values)
    marks = [x for x, _ in chart(a=of(values, [0] * len(values))).marks]
    for value, place in zip(values, marks, strict=True):
        share = (value - low) / (high - low) if high > low else 0.0
        assert place == pytest.approx(min(marks) + share * (max(marks) - min(marks)), abs=0.2)


@pytest.mark.parametrize("value", [0, 5, -2, 0.3, 1e17])
def test_a_curve_that_is_constant_is_level(value):
    drawn = chart(a=of([1, 2, 3], [value] * 3))
    assert len({y for _, y in drawn.marks}) == 1
    assert len({x for x, _ in drawn.marks}) == 3
    assert_inside(drawn)
    assert len(drawn.ticks("y")) >= 2


@pytest.mark.parametrize("values", [[0, 1e-15], [1e-15, 1e-15], [1e-13, 3e-13], [0.1, 0.1 + 1e-16]])
def test_values_that_hardly_differ_can_be_drawn(values):
    assert len(chart(a=of(values, values)).marks) == 2


# What cannot be drawn.


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_points_that_are_no_numbers_are_left_out(odd):
    drawn = chart(a=[(0, 0), (odd, 1), (2, odd), (1, 1)], b=[(odd, odd)])
    assert len(drawn.marks) == 2
    assert [len(line) for line in drawn.lines] == [2, 0]
    assert "b" in drawn.texts


@pytest.mark.parametrize("series", [{}, {"a": []}, {"a": [(math.nan, 0.0)], "b": [(0.0, math.inf)]}])
def test_nothing_to_draw_is_an_error(series):
    with pytest.raises(ValueError, match="nothing to draw"):
        line_chart(series, title="", x_label="", y_label="")


# The frontier.

ORIGINAL = changed(COST, relus=100, macs=1000, latency_ms=4.0)


def point(relus=50, macs=750, latency=1.0, lost=None, **fidelity):
    """A point that keeps so much of `ORIGINAL`."""
    return ParetoPoint(
        target_relus=relus,
        optimized=changed(COST, relus=relus, macs=macs, latency_ms=latency),
        accuracy_lost=lost,
        fidelity=changed(FIDELITY, **fidelity),
    )


UNREACHED = ParetoPoint(target_relus=1, reason="It cannot be reached.")


def frontier(*points):
    report = ParetoReport(
        model=FILE, original=ORIGINAL, points=list(points), validated=True, timings={}, versions={}, config={}, seed=0
    )
    return Chart(pareto_chart(report))


def value_at(drawn, position):
    """Share kept and what is lost, as they are read off a drawing at one of its marks."""
    return tuple(
        between(drawn.ticks(axis), coordinate) for axis, coordinate in zip("xy", drawn.marks[position], strict=True)
    )


def between(ticks, place):
    """The value at a place of an axis."""
    (low, start), (high, end) = ticks[0], ticks[-1]
    return low + (high - low) * (place - start) / (end - start)


def test_what_is_lost_is_drawn_against_relus_multiply_adds_and_latency():
    drawn = frontier(point(90, 900, 3.6, lost=0.0), point(50, 750, 1.0, lost=0.03), UNREACHED)
    assert {"ReLUs", "MACs", "latency", "points of accuracy lost"} <= set(drawn.texts)
    assert [len(line) for line in drawn.lines] == [2, 2, 2]
    assert value_at(drawn, 1) == pytest.approx((0.5, 3), abs=0.02)
    assert value_at(drawn, 3) == pytest.approx((0.75, 3), abs=0.02)
    assert value_at(drawn, 5) == pytest.approx((0.25, 3), abs=0.02)


def test_accuracy_that_is_gained_is_drawn_below_nothing():
    drawn = frontier(point(90, lost=-0.02), point(50, lost=0.01))
    assert value_at(drawn, 0)[1] == pytest.approx(-2, abs=0.02)


def test_without_labels_it_is_the_samples_that_change():
    drawn = frontier(point(90, agreement=1.0), point(50, agreement=0.9))
    assert "% of samples that change" in drawn.texts
    assert value_at(drawn, 1)[1] == pytest.approx(10, abs=0.05)


def off(**errors):
    """Fidelity without classes, of outputs with these relative errors."""
    outputs = tuple(OutputDifference(name, (3,), relative_error=error) for name, error in errors.items())
    return {"agreement": None, "kl": None, "relative_error": errors, "outputs": outputs}


def test_without_classes_it_is_the_largest_error():
    drawn = frontier(point(90, **off(y=0.0, z=0.01)), point(50, **off(y=0.2, z=0.1)))
    assert "relative output error, %" in drawn.texts
    assert value_at(drawn, 0)[1] == pytest.approx(1, abs=0.1)
    assert value_at(drawn, 1)[1] == pytest.approx(20, abs=0.1)


def test_where_latency_is_not_known_the_other_curves_are_drawn():
    drawn = frontier(point(latency=None, lost=0.0))
    assert [len(line) for line in drawn.lines] == [1, 1, 0]


def test_a_network_that_broke_is_left_out():
    drawn = frontier(point(90), point(50, **off(y=math.inf)))
    assert [len(line) for line in drawn.lines] == [1, 1, 1]


def test_without_a_target_that_was_reached_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="nothing to draw"):
        frontier(UNREACHED)
