"""What `doctor` found, on the terminal."""

from onnxshallow.report.schema.doctor import DoctorReport
from onnxshallow.report.terminal import console as terminal
from onnxshallow.report.terminal.tables import make_table, show_table
from onnxshallow.text import printable

__all__ = ["print_doctor"]


def print_doctor(report: DoctorReport) -> None:
    """What is installed, and what to do about it."""
    console = terminal.console()
    table = make_table(console, "package", "installed", "at least", "")
    for package in report.packages:
        style = None if package.ok else "red"
        table.add_row(package.name, package.version or "-", package.least or "-", _mark(package.ok), style=style)
    show_table(console, table)
    memory = "unknown" if report.memory_bytes is None else f"{report.memory_bytes / 2**30:.1f} GiB"
    cache = report.cache
    most = "" if cache.most_bytes is None else f" of at most {cache.most_bytes / 2**20:.0f}"
    lines = {
        "onnxshallow": f"{report.version}, Python {report.python}, {report.platform}",
        "cores": f"{report.cores} usable",
        "free memory": memory,
        "providers": ", ".join(report.providers) or "none",
        "onnxruntime": "runs a model" if report.runs else "does not run a model",
        "cache": f"{printable(cache.path)}, {cache.files} sweeps, {cache.size_bytes / 2**20:.1f}{most} MiB",
    }
    for extra, lacking in report.extras.items():
        lines[f"extra [{extra}]"] = f"lacks {', '.join(lacking)}" if lacking else "installed"
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        console.print(f"{name + ':':<{width}}{value}", soft_wrap=True)
    for problem in report.problems:
        console.print(f"Problem: {problem}", style="red", soft_wrap=True)
    for hint in report.hints:
        console.print(f"Hint: {hint}", style="yellow", soft_wrap=True)
    if not report.problems:
        console.print("All is well.", style="green")


def _mark(ok: bool) -> str:
    return "ok" if ok else "not ok"
