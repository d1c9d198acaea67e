import pytest

from onnxshallow.report.page.view import (
    Answer,
    answer,
    drawn_rows,
    frontier_chart,
    in_short,
    layer_rows,
    share,
    tiles,
    training_chart,
)
from onnxshallow.report.schema.reports import (
    ChangeReport,
    CostReport,
    Decision,
    FrontierPoint,
    NodeReport,
    PlanPoint,
    Verdict,
)
from tests.report.pages import REPORT, TRAINING
from tests.runs import speed_of


def cost(**values):
    return CostReport(
        **{"relus": 10, "relu_nodes": 2, "comparisons": 10, "macs": 100, "params": 5, "conv_layers": 3}
        | {"linear_layers": 3, "depth": 3}
        | values
    )


def node(name, op="Conv", output=None, **values):
    return NodeReport(name=name, op=op, output=output or name, inputs=[], **values)


def changed(**values):
    return ChangeReport(
        **{"key": "k", "action": "fuse", "sites": ["r"], "source": "x", "output": "y", "kernel": [3, 3], "rank": None}
        | {"exactness": "fitted", "relus_saved": 1, "macs_saved": 1, "damage": 0.1, "what": "as said"}
        | values
    )


def test_only_known_figures_have_tiles():
    before, after = cost(latency_ms=2.0), cost(relus=5, latency_ms=1.0)
    found = {tile.label: tile for tile in tiles(before, after)}
    assert (found["ReLUs"].ratio, found["latency"].ratio, found["latency"].unit) == (0.5, 0.5, "ms")
    assert "top-1 accuracy" not in found
    assert "bytes" not in found


def test_the_speed_has_a_tile_with_its_interval():
    tile = tiles(cost(), cost(), speed_of(0.92, 1.0, off=0.01))[-1]
    assert (tile.after, tile.unit) == (0.92, "times")
    assert tile.interval == pytest.approx((0.9108, 0.9292))


@pytest.mark.parametrize(("before", "after", "shown"), [(0, 0, False), (0, 8, True), (8, 0, True)])
def test_squares_have_a_tile_where_there_are_any(before, after, shown):
    found = {tile.label: tile for tile in tiles(cost(squares=before), cost(squares=after))}
    assert ("squares" in found) is shown
    assert not shown or (found["squares"].before, found["squares"].after) == (before, after)


def test_there_is_no_ratio_to_nothing():
    assert tiles(cost(relus=0), cost(relus=0))[0].ratio is None


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(1, 2, 0.5), (3, 2, 1), (-1, 2, 0), (None, 2, None), (1, 0, None), (1, None, None)],
)
def test_a_share_lies_between_nothing_and_all(part, whole, expected):
    assert share(part, whole) == expected


def test_a_change_is_said_in_its_few_words():
    assert in_short(changed(short="one 3×3 convolution, fitted")) == "one 3×3 convolution, fitted"


def test_a_report_from_before_there_were_any_has_a_sentence():
    assert in_short(changed()) == "as said"


def rows_for(*nodes, decisions=(), changes=()):
    return drawn_rows(
        REPORT.model_copy(
            update={"original_nodes": list(nodes), "decisions": list(decisions), "changes": list(changes)}
        )
    )


def test_a_site_that_stays_in_part_has_a_mark_of_its_own():
    kept = Decision(name="r", kind="relu", size=4, action="mask", reason="", kept=2, kept_unit="channels")
    change = changed(action="mask", kernel=None, short="2 channels kept, the others affine")
    (row,) = rows_for(node("r", "Relu", relus=4, change="k"), decisions=[kept], changes=[change])
    assert (row.kind, row.what) == ("partial", "2 channels kept, the others affine")
    assert '<g class="partial"><circle' in row.svg


def test_rows_say_what_became_of_a_part():
    decisions = [
        Decision(name="r", kind="relu", size=4, action="keep", reason="", least_damage=0.5),
        Decision(name="s", kind="relu", size=4, action="linearize", reason="", least_damage=0.25),
    ]
    nodes = [
        node("x", "Input"),
        node("r", "Relu", relus=4),
        node("s", "Relu", relus=4, change="l"),
        node("c", change="k"),
        node("d", change="k"),
        node("e"),
    ]
    changes = [changed(short="one 3×3 convolution"), changed(key="l", kernel=None, short="removed")]
    rows = rows_for(*nodes, decisions=decisions, changes=changes)
    assert [row.kind for row in rows] == ["end", "site", "removed", "fused", "layer"]
    assert [row.what for row in rows] == ["", "", "removed", "one 3×3 convolution", ""]
    assert [row.bar for row in rows] == [None, 1.0, 0.5, None, None]
    assert [row.relus for row in rows] == [0, 4, 4, 0, 0]


def pairs(before, after):
    report = REPORT.model_copy(update={"original_nodes": before, "optimized_nodes": after})
    return [(row.before and row.before.name, row.after and row.after.name) for row in layer_rows(report)]


def test_layers_are_paired_by_what_they_make_or_by_name():
    before = [node("a", output="u", macs=5), node("r", "Relu", relus=3), node("b", output="v", macs=5)]
    after = [node("other", output="u", macs=5), node("b", output="w", macs=4)]
    assert pairs(before, after) == [("a", "other"), ("r", None), ("b", "b")]


def test_new_layers_stand_where_they_are_in_the_optimized_model():
    before = [node("a", macs=5), node("b", macs=5)]
    after = [node("a", macs=5), node("new", macs=1), node("b", macs=1), node("last", macs=1)]
    assert pairs(before, after) == [("a", "a"), (None, "new"), ("b", "b"), (None, "last")]


def test_what_costs_nothing_has_no_row():
    assert pairs([node("x", "Input"), node("add", "Add"), node("a", macs=1)], []) == [("a", None)]


def test_a_chart_shows_the_chosen_plan_among_the_others():
    plans = [PlanPoint(relus=5, macs=1, damage=d, predicted=0.1, chosen=d == 0.2) for d in (0.2, 0.4)]
    frontier = [FrontierPoint(relus=r, macs=1, expected=0.1 * r) for r in (2, 8)]
    chart = frontier_chart(REPORT.model_copy(update={"plans": plans, "frontier": frontier}))
    assert chart.count("<circle") == 4 + 3  # one a point, and one a line of the legend
    assert chart.count("<polyline") == 1
    assert "the plan chosen" in chart


def test_without_a_measured_plan_there_is_no_chart():
    assert frontier_chart(REPORT) is None
    unmeasured = PlanPoint(relus=5, macs=1, damage=None, predicted=0.1, chosen=True)
    assert frontier_chart(REPORT.model_copy(update={"plans": [unmeasured]})) is None


def test_training_is_drawn_by_steps_where_there_was_any():
    assert training_chart(REPORT) is None
    chart = training_chart(REPORT.model_copy(update={"training": TRAINING}))
    assert chart.count("<circle") == 3 + 2 + 2  # one a look, one a loss, and one a line of the legend
    assert "loss of the steps before" in chart


def test_inputs_and_outputs_are_no_layers_and_no_sites():
    """Though an output has the name of the tensor that the last layer makes, and perhaps of a site."""
    before = [node("r", "Input"), node("a", output="y", macs=5), node("y", "Output")]
    report = REPORT.model_copy(update={"original_nodes": before, "optimized_nodes": before})
    assert [(row.before.name, row.after.name) for row in layer_rows(report)] == [("a", "a")]
    decisions = [Decision(name=name, kind="relu", size=4, action="keep", reason="") for name in ("r", "y")]
    assert [row.kind for row in rows_for(*before, decisions=decisions)] == ["end", "layer", "end"]


@pytest.mark.parametrize(
    ("status", "code", "validated", "optimized", "word", "style"),
    [
        ("met", 0, True, True, "Yes", "met"),
        ("met", 0, False, True, "Not before it was validated", "unproved"),
        ("accuracy", 4, True, True, "No", "refused"),
        ("target", 5, True, True, "No", "refused"),
        ("target", 5, True, False, "No", "refused"),
        ("forced", 0, True, True, "Refused, and forced", "refused"),
    ],
)
def test_the_answer_is_a_word_and_the_line_of_the_verdict(status, code, validated, optimized, word, style):
    verdict = Verdict(status=status, exit_code=code, validated=validated, reasons=["A reason."], line="What is so.")
    report = REPORT.model_copy(update={"verdict": verdict, "optimized": cost() if optimized else None})
    assert answer(report) == Answer(word, "What is so.", style)
