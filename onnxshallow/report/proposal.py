"""What `optimize --dry-run` shows."""

from onnxshallow.report import terminal
from onnxshallow.report.schema import PlanReport
from onnxshallow.report.tables import comparison_table, count, new_table, number
from onnxshallow.text import printable

__all__ = ["print_plan"]


def print_plan(report: PlanReport) -> None:
    """What a plan would do, which nothing was done of."""
    console = terminal.console()
    sites = {decision.name: decision for decision in report.decisions}
    table = new_table(console, "sites", "change", "kernel", "ReLUs saved", "MACs saved", "damage")
    for entry in report.plan["actions"]:
        kernel = "x".join(map(str, entry["kernel"])) if entry["kernel"] else "-"
        names = [name for name in entry["sites"] if name in sites] or [entry["output"]]
        table.add_row(
            printable(", ".join(names)),
            entry["action"],
            kernel,
            count(entry["relus_saved"]),
            count(entry["macs_saved"]),
            number(entry["damage"]),
        )
    console.print(table)
    console.print(comparison_table(console, report.original, report.predicted, "predicted"))
    console.print(
        f"Damages add up to {number(report.damage)}, by {report.measure}, each measured alone on {report.samples} "
        f"held-out samples of {printable(report.source)}."
    )
    console.print("Nothing was carried out. A run carries out several plans and keeps the best.")
