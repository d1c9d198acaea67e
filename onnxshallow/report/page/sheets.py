"""The pages of `sensitivity`, `pareto`, `validate` and `bench`: each made of its JSON report."""

import math
from collections.abc import Iterator, Sequence

from onnxshallow.report.page.plot import line_chart, pareto_chart
from onnxshallow.report.page.sheet import Cell, Column, PagePart, Sheet, number_cell, sheet_page
from onnxshallow.report.schema.figures import count
from onnxshallow.report.schema.reports import (
    BenchReport,
    EngineReport,
    ParetoReport,
    PrivateReport,
    SensitivityReport,
    ValidationReport,
)
from onnxshallow.report.schema.sections import PartingReport
from onnxshallow.search.sensitivity.measures import in_words

__all__ = ["bench_page", "pareto_page", "sensitivity_page", "validation_page"]

# The smallest error that a chart tells from none.
_LEAST_ERROR = 1e-8
# What targets of `pareto` are of, in words.
_TARGETS = {
    "relus": "ReLUs",
    "macs": "MACs",
    "params": "parameters",
    "size": "bytes of the file",
    "private": "seconds of private inference",
    "bytes": "bytes sent",
    "messages": "messages",
}


def sensitivity_page(report: SensitivityReport) -> str:
    """The page of `sensitivity`: the least damage of each site."""
    measured = [site for site in report.sites if site.sensitivity is not None]
    most = max((site.sensitivity or 0.0 for site in measured), default=0.0)
    worst = max(measured, key=lambda site: site.sensitivity or 0.0, default=None)
    columns = [
        Column("Site"),
        Column("Kind", wide=True),
        Column("ReLUs", number=True),
        Column("Least damage", number=True),
        Column("By", wide=True),
        Column("Why it stays", wide=True),
    ]
    rows = [
        (
            Cell(site.name),
            Cell(site.kind),
            number_cell(site.size, count(site.size)),
            number_cell(site.sensitivity, most=most),
            Cell(_best(site.damages)),
            Cell("" if site.removable else site.reason or ""),
        )
        for site in report.sites
    ]
    chart = None
    if measured:
        points = [
            (float(place), site.sensitivity or 0.0) for place, site in enumerate(report.sites, 1) if site in measured
        ]
        chart = line_chart(
            {"least damage": points},
            title="From input to output",
            x_label="site",
            y_label=f"damage ({in_words(report.measure)})",
        )
    lead = f"{len(measured)} of {len(report.sites)} sites can go"
    if worst is not None:
        lead += f"; {worst.name} is the most sensitive"
    text = (
        f"The damage that removing a site does, alone or within a merger, at the least: {in_words(report.measure)}, "
    )
    text += f"on {count(report.samples)} held-out samples."
    parts = [PagePart("Activation sites", text, chart, columns, rows)]
    return sheet_page(
        Sheet(f"Sensitivity of {report.model.path}", f"{lead}.", parts, version=_version(report.versions))
    )


def pareto_page(report: ParetoReport) -> str:
    """The page of `pareto`: what is lost at each target."""
    before = report.original
    columns = [
        Column(f"Target: {_TARGETS[report.by]}"),
        Column("ReLUs kept", number=True),
        Column("MACs kept", number=True, wide=True),
        Column("Depth", number=True, wide=True),
        Column("Times as fast", number=True, wide=True),
        Column("Same class, %", number=True),
        Column("Points lost", number=True),
        Column("Why not", wide=True),
    ]
    rows = []
    for point in report.points:
        after, fidelity = point.optimized, point.fidelity
        agreement = None if fidelity is None else fidelity.agreement
        target = count(point.target_relus) if point.target is None else f"{point.target:.4g}"
        rows.append(
            (
                Cell(target),
                number_cell(None if after is None else after.relus / max(before.relus, 1)),
                number_cell(None if after is None else after.macs / max(before.macs, 1)),
                number_cell(None if after is None else after.depth),
                number_cell(None if point.speed is None else point.speed.speedup),
                number_cell(agreement, None if agreement is None else f"{100 * agreement:.2f}"),
                number_cell(
                    point.accuracy_lost, None if point.accuracy_lost is None else f"{100 * point.accuracy_lost:.2f}"
                ),
                Cell(point.reason or ""),
            )
        )
    reached = [point for point in report.points if point.optimized is not None]
    chart = pareto_chart(report) if any(point.fidelity is not None for point in reached) else None
    met = sum(point.reason is None for point in report.points)
    lead = f"{met} of {len(report.points)} targets were met."
    notes = [] if report.validated else ["Not validated: nothing is known of real inputs."]
    parts = [PagePart("Targets", "", chart, columns, rows)]
    version = _version(report.versions)
    return sheet_page(Sheet(f"What {report.model.path} loses", lead, parts, notes, _style(report.verdict), version))


def validation_page(report: ValidationReport) -> str:
    """The page of `validate`: the gates, the accuracy, the outputs, and where the networks part."""
    title = f"{report.optimized.path} beside {report.original.path}"
    parts = list(_validation_parts(report))
    return sheet_page(Sheet(title, report.verdict.line, parts, report.verdict.remarks, _style(report.verdict)))


def _validation_parts(report: ValidationReport) -> Iterator[PagePart]:
    fidelity = report.fidelity
    if report.gates:
        columns = [Column("Gate"), Column("Found", number=True), Column("Allowed", number=True), Column("Holds")]
        gates = [
            (Cell(gate.name), number_cell(gate.value), number_cell(gate.limit), Cell("yes" if gate.met else "no"))
            for gate in report.gates
        ]
        yield PagePart("Gates", columns=columns, rows=gates)
    before, after = report.original_accuracy, report.optimized_accuracy
    if before is not None and after is not None:
        figures = [("top-1, %", before.top1, after.top1), ("top-5, %", before.top5, after.top5)]
        columns = [Column("Accuracy"), Column("Original", number=True), Column("Optimized", number=True)]
        rows = [
            (Cell(name), _percent(one), _percent(other))
            for name, one, other in figures
            if one is not None and other is not None
        ]
        yield PagePart("Accuracy", f"On {count(fidelity.samples)} samples.", columns=columns, rows=rows)
    if fidelity.outputs:
        columns = [
            Column("Output"),
            Column("Relative error", number=True),
            Column("Same class, %", number=True),
            Column("Largest error", number=True, wide=True),
            Column("Worst sample", number=True, wide=True),
        ]
        outputs = [
            (
                Cell(each.name),
                number_cell(each.relative_error),
                _percent(each.agreement),
                number_cell(each.max_error),
                number_cell(each.worst_sample, str(each.worst_sample)),
            )
            for each in fidelity.outputs
        ]
        yield PagePart("Outputs", f"On {count(fidelity.samples)} samples.", columns=columns, rows=outputs)
    if report.parting is not None:
        yield _parting_part(report.parting)
    if report.changed:
        columns = [Column("Sample"), Column("Original", number=True), Column("Optimized", number=True)]
        rows = [
            (Cell(each.name or str(each.index)), number_cell(each.original), number_cell(each.optimized))
            for each in report.changed
        ]
        text = f"{count(report.changed_total)} samples changed their class, the surest first."
        yield PagePart("Changed classes", text, columns=columns, rows=rows)


def _parting_part(parting: PartingReport) -> PagePart:
    """How far each tensor is off that both networks make, from input to output."""
    columns = [Column("Tensor"), Column("Made by", wide=True), Column("Relative error", number=True)]
    rows = [(Cell(each.name), Cell(each.op), number_cell(each.relative_error)) for each in parting.tensors]
    return PagePart("Where they part", parting.in_words, _parting_chart(parting), columns, rows)


def _parting_chart(parting: PartingReport) -> str | None:
    """Powers of ten of the errors, from input to output; None where there are none that a chart can show."""

    def power(error: float) -> float:
        return math.log10(max(error, _LEAST_ERROR))

    points = [(float(place), power(each.relative_error)) for place, each in enumerate(parting.tensors, 1)]
    if not any(math.isfinite(y) for _, y in points):
        return None
    return line_chart(
        {"relative error": points},
        title="How far tensors are off, from input to output",
        x_label="tensor",
        y_label="relative error, power of ten",
        levels={"beyond": (power(parting.tolerance), math.inf)},
    )


def bench_page(report: BenchReport) -> str:
    """The page of `bench`: how long each model takes, and what private inference costs."""
    low, high = report.speedup_interval
    lead = f"{report.optimized.path} is {report.speedup:.3f} times as fast as {report.original.path} "
    lead += f"(95 % interval {low:.3f} to {high:.3f})."
    return sheet_page(
        Sheet(
            "Models side by side", lead, list(_bench_parts(report)), report.notes, version=_version(report.versions)
        )
    )


def _bench_parts(report: BenchReport) -> Iterator[PagePart]:
    slowest = max((row.median_ms for row in report.measurements), default=0.0)
    columns = [
        Column("Model"),
        Column("Batch", number=True),
        Column("Threads", number=True, wide=True),
        Column("Median ms", number=True),
        Column("Times as fast", number=True),
        Column("95 % interval", wide=True),
        Column("Peak MB", number=True, wide=True),
        Column("File MB", number=True, wide=True),
    ]
    rows: list[Sequence[Cell]] = [
        (
            Cell(report.models[row.model].path),
            number_cell(row.batch_size, str(row.batch_size)),
            number_cell(row.threads, str(row.threads)) if row.threads else Cell("all"),
            number_cell(row.median_ms, f"{row.median_ms:.3f}", most=slowest),
            number_cell(row.speedup, f"{row.speedup:.3f}"),
            Cell(" to ".join(f"{value:.3f}" for value in row.speedup_interval) if row.model else ""),
            number_cell(None if row.peak_memory_bytes is None else row.peak_memory_bytes / 1e6),
            number_cell(report.models[row.model].size_bytes / 1e6),
        )
        for row in report.measurements
    ]
    yield PagePart("Latency", "In turns in onnxruntime, on random input.", columns=columns, rows=rows)
    if report.private:
        yield _secure_part(report, "Private inference", report.private, "An estimate, not a measurement.")
    if report.engine:
        yield _secure_part(report, "Private inference, measured", report.engine)


def _secure_part(
    report: BenchReport, title: str, charged: Sequence[PrivateReport | EngineReport], text: str = ""
) -> PagePart:
    """What each model costs under secure computation, estimated or measured."""
    columns = [Column("Model"), Column("Protocol"), Column("MB", number=True), Column("Seconds", number=True)]
    rows = [
        (Cell(report.models[one.model].path), Cell(one.title), number_cell(one.bytes / 1e6), number_cell(one.seconds))
        for one in charged
    ]
    return PagePart(title, text, columns=columns, rows=rows)


def _best(damages: dict[str, float | None] | None) -> str:
    """The key of the candidate that does the least damage."""
    known = {key: damage for key, damage in (damages or {}).items() if damage is not None}
    return min(known, key=lambda key: known[key]) if known else ""


def _percent(share: float | None) -> Cell:
    """A share as per cent."""
    return number_cell(share, None if share is None else f"{100 * share:.2f}")


def _style(verdict: object) -> str:
    code = getattr(verdict, "exit_code", None)
    return "" if code is None else "refused" if code else "met"


def _version(versions: dict[str, str]) -> str:
    return versions.get("onnxshallow", "")
