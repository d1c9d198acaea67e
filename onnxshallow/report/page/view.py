"""What the HTML report shows, worked out from the JSON report: tiles, rows, bars and charts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnxshallow.report.page.drawing import Row, draw_row, lay_out, widest
from onnxshallow.report.page.plot import line_chart
from onnxshallow.report.page.scale import levels_of
from onnxshallow.report.schema.reports import ChangeReport, CostReport, Decision, NodeReport, Report
from onnxshallow.search.sensitivity.measures import in_words
from onnxshallow.validation.speed import Speed

__all__ = [
    "Answer",
    "DrawnRow",
    "LayerRow",
    "Tile",
    "answer",
    "drawn_rows",
    "frontier_chart",
    "in_short",
    "layer_rows",
    "share",
    "tiles",
    "training_chart",
]

_ENDS = ("Input", "Output")
_COUNTS = (
    ("ReLUs", "relus"),
    ("squares", "squares"),
    ("depth", "depth"),
    ("convolutions", "conv_layers"),
    ("MACs", "macs"),
    ("parameters", "params"),
    ("bytes", "size_bytes"),
)


@dataclass(frozen=True)
class Answer:
    """Whether the model may be shipped.

    Attributes:
        word: `Yes`, `No`, or what is between.
        because: the reason, in a line.
        style: the class that it is shown with: `met`, `unproved` or `refused`.
    """

    word: str
    because: str
    style: str


@dataclass(frozen=True)
class Tile:
    """One figure before and after.

    Attributes:
        label: what is counted.
        before: of the original.
        after: of the optimized model.
        unit: `count`, `points` (a fraction, shown in per cent), `ms`, or `times` (as fast as before).
        interval: 95 % interval of what is after, where it is shown.
    """

    label: str
    before: float
    after: float
    unit: str = "count"
    interval: tuple[float, float] | None = None

    @property
    def ratio(self) -> float | None:
        """After over before; None where nothing was there before, and for accuracies."""
        return self.after / self.before if self.before and self.unit != "points" else None


@dataclass(frozen=True)
class DrawnRow:
    """One row of the drawing of the network.

    Attributes:
        svg: its lines and its mark.
        row: what it stands for.
        kind: `layer`, `site`, `join`, `fused`, `removed`, `partial` (a site that stays in part) or `end`.
        decision: of its site, where it is one.
        what: what happened to it; empty where nothing did.
        bar: its least damage as a share of the largest.
    """

    svg: str
    row: Row
    kind: str
    decision: Decision | None
    what: str
    bar: float | None

    @property
    def least_damage(self) -> float | None:
        """The least damage of removing the site and no other."""
        return None if self.decision is None else self.decision.least_damage

    @property
    def relus(self) -> int:
        """Scalar activations of all that the row stands for."""
        return sum(node.relus or 0 for node in self.row.nodes)


@dataclass(frozen=True)
class LayerRow:
    """What one node costs before and after; None where it is not there.

    Attributes:
        node: the node, of the original where it is there.
        before: in the original.
        after: in the optimized model.
    """

    node: NodeReport
    before: NodeReport | None
    after: NodeReport | None


def answer(report: Report) -> Answer:
    """Whether the model may be shipped, and the line of the verdict, which says why."""
    verdict = report.verdict
    if verdict.status == "forced":
        return Answer("Refused, and forced", verdict.line, "refused")
    if report.optimized is None or verdict.exit_code != 0:
        return Answer("No", verdict.line, "refused")
    if not verdict.validated:
        return Answer("Not before it was validated", verdict.line, "unproved")
    return Answer("Yes", verdict.line, "met")


def tiles(original: CostReport, optimized: CostReport, speed: Speed | None = None) -> list[Tile]:
    """The figures that matter, before and after."""
    found = []
    if original.accuracy is not None and optimized.accuracy is not None:
        found.append(Tile("top-1 accuracy", original.accuracy.top1, optimized.accuracy.top1, "points"))
    for label, name in _COUNTS:
        before, after = getattr(original, name), getattr(optimized, name)
        shown = name != "squares" or before or after
        if before is not None and after is not None and shown:
            found.append(Tile(label, before, after))
    if original.latency_ms is not None and optimized.latency_ms is not None:
        found.append(Tile("latency", original.latency_ms, optimized.latency_ms, "ms"))
    if speed is not None:
        found.append(Tile("speed in onnxruntime", 1.0, speed.speedup, "times", speed.speedup_interval))
    return found


def share(part: float | None, whole: float | None) -> float | None:
    """`part` of `whole`, from 0 to 1; None where one is not known."""
    if part is None or not whole:
        return None
    return min(max(part / whole, 0.0), 1.0)


def in_short(change: ChangeReport) -> str:
    """What a change makes, in a few words; reports from before there were any have a sentence."""
    return change.short or change.what


def drawn_rows(report: Report) -> list[DrawnRow]:
    """The original network from input to output, with what became of each part."""
    decisions = {decision.name: decision for decision in report.decisions}
    what = {change.key: in_short(change) for change in report.changes}
    most = max((d.least_damage or 0.0 for d in report.decisions), default=0.0)
    rows = lay_out(report.original_nodes)
    width = widest(rows)
    found = []
    for row in rows:
        site = len(row.nodes) == 1 and row.main.op not in _ENDS
        decision = decisions.get(row.main.name) if site else None
        kind = _kind(row, decision)
        said = what.get(row.main.change or "", "")
        bar = share(decision.least_damage, most) if decision is not None else None
        found.append(DrawnRow(draw_row(row, width, kind), row, kind, decision, said, bar))
    return found


def _kind(row: Row, decision: Decision | None) -> str:
    if len(row.nodes) > 1:
        return "fused"
    if decision is not None:
        return "site" if decision.action == "keep" else "partial" if decision.kept else "removed"
    if row.main.op in _ENDS:
        return "end"
    return "join" if len(row.joins) > 1 else "layer"


def layer_rows(report: Report) -> list[LayerRow]:
    """Every node that costs something, before and after, in the order of the network.

    A node of the optimized model is the one before whose output has the same name, or which has the same name and
    operator; others are new.
    """
    original, optimized = (_inner(nodes) for nodes in (report.original_nodes, report.optimized_nodes))
    before = {node.output: node for node in original}
    named = {(node.name, node.op): node for node in original}
    partners: dict[str, tuple[int, NodeReport]] = {}
    new = []
    for place, node in enumerate(optimized):
        partner = before.get(node.output) or named.get((node.name, node.op))
        if partner is None or partner.output in partners:
            new.append((place, node))
        else:
            partners[partner.output] = place, node
    found: list[LayerRow] = []
    for node in original:
        place, later = partners.get(node.output, (-1, None))
        while new and new[0][0] < place:
            found.append(LayerRow(new[0][1], None, new.pop(0)[1]))
        found.append(LayerRow(node, node, later))
    found += [LayerRow(node, None, node) for _, node in new]
    return [row for row in found if any(n is not None and (n.macs or n.relus) for n in (row.before, row.after))]


def _inner(nodes: Sequence[NodeReport]) -> list[NodeReport]:
    return [node for node in nodes if node.op not in _ENDS]


def frontier_chart(report: Report) -> str | None:
    """Damage against ReLUs kept: what is to be expected, the plans that competed, the one chosen; None for none."""
    total = max(report.original.relus, 1)
    curves: Mapping[str, Sequence[tuple[float, float]]] = {
        "to be expected": [(p.relus / total, p.expected) for p in report.frontier if p.expected is not None],
        "plans that competed": _measured(report, total, chosen=False),
        "the plan chosen": _measured(report, total, chosen=True),
    }
    present = {name: points for name, points in curves.items() if points}
    if not any(_measured(report, total, chosen=chosen) for chosen in (True, False)):
        return None
    return line_chart(
        present,
        title="Damage of whole plans",
        x_label="share of the ReLUs that is kept",
        y_label=f"damage ({in_words(report.config.get('sensitivity', 'kl'))})",
        levels=levels_of(report),
        scattered=tuple(present)[1:] if "to be expected" in present else tuple(present),
    )


def _measured(report: Report, total: int, *, chosen: bool) -> list[tuple[float, float]]:
    points: Iterable[tuple[float, float | None]] = (
        (p.relus / total, p.damage) for p in report.plans if p.chosen is chosen
    )
    return [(x, y) for x, y in points if y is not None]


def training_chart(report: Report) -> str | None:
    """What the weights learned, by steps: the loss, and the divergence on held-out samples; None without training."""
    looks = [] if report.training is None else report.training.looks
    curves = {
        "divergence on held-out samples": [(look.step, look.damage) for look in looks if look.damage is not None],
        "loss of the steps before": [(look.step, look.loss) for look in looks if look.loss is not None],
    }
    present = {name: points for name, points in curves.items() if points}
    if not present:
        return None
    return line_chart(present, title="What was learned", x_label="steps", y_label="divergence, loss")
