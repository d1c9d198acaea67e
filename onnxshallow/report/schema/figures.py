"""Figures as text, and those of two models side by side: for a terminal, for Markdown, for a notebook."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `doctor` shows tables where what these need is missing
    from onnxshallow.report.schema.sections import CostReport, Verdict
    from onnxshallow.validation.speed import Speed

__all__ = ["Row", "change", "compared", "count", "lost", "number"]

Row = tuple[str, str, str, str]
"""What is counted; of the original; of the other; the ratio, or what says more."""

_COUNTS = (
    ("ReLUs", "relus"),
    ("ReLU nodes", "relu_nodes"),
    ("squares", "squares"),
    ("MACs", "macs"),
    ("parameters", "params"),
    ("convolutions", "conv_layers"),
    ("depth", "depth"),
    ("levels of products", "levels"),
    ("bytes", "size_bytes"),
)


def count(value: int | None) -> str:
    """A whole number in groups of three."""
    return "?" if value is None else f"{value:,}".replace(",", " ")


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many digits after the point; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def lost(verdict: "Verdict") -> str:
    """The accuracy that was lost, in a sentence; empty where it is not known."""
    if verdict.accuracy_lost is None or verdict.accuracy_lost_interval is None:
        return ""
    low, high = (100 * value for value in verdict.accuracy_lost_interval)
    return (
        f"Accuracy lost: {100 * verdict.accuracy_lost:.2f} points (95 % interval {low:.2f} to {high:.2f}; "
        f"McNemar p = {verdict.mcnemar_p or 0:.3g})."
    )


def change(original: "CostReport", after: "CostReport") -> str:
    """What became of ReLUs and depth, in a few words."""
    share = f" ({after.relus / original.relus:.3f})" if original.relus else ""
    return f"ReLUs {original.relus} -> {after.relus}{share}, depth {original.depth} -> {after.depth}"


def compared(original: "CostReport", optimized: "CostReport", speed: "Speed | None" = None) -> list[Row]:
    """Two models' figures, and the ratios between them; of the speed, which is one, its interval."""
    rows: list[Row] = []
    for label, name in _COUNTS:
        before, after = getattr(original, name), getattr(optimized, name)
        if before is None or after is None or (name == "squares" and not before and not after):
            continue
        if name == "levels" and (optimized.relus or not optimized.squares):
            continue  # only who has no ReLU left counts them
        rows.append((label, count(before), count(after), f"{after / before:.3f}" if before else "-"))
    if original.price is not None and optimized.price is not None:
        unit = (original.price_of or "").split()[0]
        ratio = optimized.price / original.price if original.price else 1.0
        prices = f"{original.price:.4g}", f"{optimized.price:.4g}"
        rows.append((f"private inference, {unit}", *prices, f"{ratio:.3f}"))
    if original.latency_ms is not None and optimized.latency_ms is not None:
        ratio = optimized.latency_ms / original.latency_ms
        rows.append(("latency, ms", f"{original.latency_ms:.3f}", f"{optimized.latency_ms:.3f}", f"{ratio:.3f}"))
    if speed is not None:
        low, high = speed.speedup_interval
        rows.append(("times as fast", "1", f"{speed.speedup:.3f}", f"{low:.2f} to {high:.2f}"))
    if original.accuracy is not None and optimized.accuracy is not None:
        first, second = original.accuracy, optimized.accuracy
        rows.append(("top-1, %", f"{100 * first.top1:.2f}", f"{100 * second.top1:.2f}", ""))
        if first.top5 is not None and second.top5 is not None:
            rows.append(("top-5, %", f"{100 * first.top5:.2f}", f"{100 * second.top5:.2f}", ""))
    return rows
