import itertools
import re
from xml.etree import ElementTree

import pytest

from onnxshallow.report.page.drawing import draw_row, lay_out, widest
from onnxshallow.report.schema.reports import NodeReport


def node(name, *inputs, op="Conv", change=None):
    return NodeReport(name=name, op=op, output=name, inputs=list(inputs), change=change)


CHAIN = [node("x"), node("a", 0), node("b", 1), node("y", 2)]
RESIDUAL = [node("x"), node("a", 0), node("b", 1), node("sum", 2, 0), node("y", 3)]


def lanes(rows):
    return [row.lane for row in rows]


def test_a_chain_is_a_straight_line():
    rows = lay_out(CHAIN)
    assert lanes(rows) == [0, 0, 0, 0]
    assert [row.after for row in rows] == [(0,), (0,), (0,), ()]
    assert widest(rows) == 1


def test_a_residual_runs_beside_the_block_and_joins_it():
    rows = lay_out(RESIDUAL)
    assert lanes(rows) == [0, 1, 1, 0, 0]
    assert rows[1].after == (0, 1)
    assert rows[3].joins == (0, 1)
    assert rows[3].after == (0,)


def test_every_edge_is_a_line_from_the_node_to_its_reader():
    rows = lay_out([node("x"), node("a", 0), node("b", 0), node("c", 0), node("cat", 1, 2, 3), node("end", 4, 0)])
    for above, below in itertools.pairwise(rows):
        assert above.after == below.before
    assert len(rows[4].joins) == 3
    assert len(rows[5].joins) == 2


def test_a_lane_is_used_again_when_its_line_has_ended():
    blocks = [node("x")]
    for _ in range(20):
        start = len(blocks) - 1
        blocks += [node("a", start), node("sum", start + 1, start)]
    assert widest(lay_out(blocks)) == 2


def test_what_one_change_replaced_is_one_row():
    rows = lay_out(
        [node("x"), node("a", 0, change="f"), node("r", 1, change="f"), node("b", 2, change="f"), node("y", 3)]
    )
    assert [[n.name for n in row.nodes] for row in rows] == [["x"], ["a", "r", "b"], ["y"]]
    assert rows[1].main.name == "b"
    assert lanes(rows) == [0, 0, 0]


def test_a_change_that_others_read_from_within_is_drawn_node_by_node():
    rows = lay_out([node("x"), node("a", 0, change="f"), node("other", 1), node("b", 1, change="f"), node("y", 2, 3)])
    assert [len(row.nodes) for row in rows] == [1, 1, 1, 1, 1]


def test_what_nobody_reads_leaves_no_line():
    rows = lay_out([node("x"), node("dead", 0), node("y", 0)])
    assert rows[-1].after == ()


def test_nothing_is_drawn_of_nothing():
    assert lay_out([]) == []
    assert widest([]) == 1


@pytest.mark.parametrize("glyph", ["layer", "site", "join", "fused", "removed", "end"])
def test_a_row_is_valid_svg_with_its_mark(glyph):
    row = lay_out(RESIDUAL)[3]
    top, rest = re.findall(r"<svg.*?</svg>", draw_row(row, 2, glyph))
    assert ElementTree.fromstring(top).find("g").get("class") == glyph
    assert ElementTree.fromstring(rest).get("class") == "rest"


def test_lines_lie_within_the_drawing():
    rows = lay_out(RESIDUAL)
    for row in rows:
        drawn = draw_row(row, widest(rows), "layer")
        width = int(re.search(r'width="(\d+)"', drawn).group(1))
        assert all(0 < int(x) < width for x in re.findall(r"M(\d+)", drawn))
