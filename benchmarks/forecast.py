"""How near forecasts come: what runs were to take, and what they took, from the reports that they wrote.

    onnxshallow optimize MODEL ... --json first.json && python -m benchmarks.forecast first.json second.json ...

Prints a Markdown table, the exit code is 1 where a time is off by more than --time or a memory by more than --memory.
"""

import argparse
import sys
from pathlib import Path

from onnxshallow.report.schema.reports import ParetoReport, Report
from onnxshallow.report.schema.sections import ForecastReport
from onnxshallow.text import in_time

HEAD = """| network | foreseen | taken | ratio | memory foreseen | held | ratio |
|---|---|---|---|---|---|---|"""


def row(network: str, told: ForecastReport) -> str:
    """The row of the table."""
    seconds, held = told.actual_seconds, told.actual_memory_bytes
    return (
        f"| {network} | {in_time(told.seconds)} | {in_time(seconds)} | {told.seconds / seconds:.2f} "
        f"| {told.memory_bytes / 2**30:.1f} GiB | {held / 2**30:.1f} GiB | {told.memory_bytes / held:.2f} |"
    )


def is_near(told: ForecastReport, time: float, memory: float) -> bool:
    """Whether a forecast was off by no more than a factor, in either direction.

    Args:
        told: forecast and truth.
        time: the factor for seconds.
        memory: the factor for bytes.
    """
    return all(
        1 / most <= foreseen / taken <= most
        for foreseen, taken, most in (
            (told.seconds, told.actual_seconds, time),
            (told.memory_bytes, told.actual_memory_bytes, memory),
        )
    )


def read_forecast(path: Path) -> tuple[str, ForecastReport]:
    """The network's name and its forecast, of a report of `optimize` or `pareto`.

    Raises:
        SystemExit: there is none in it.
    """
    text = path.read_text(encoding="utf-8")
    report = (ParetoReport if '"points"' in text else Report).model_validate_json(text)
    if report.forecast is None:
        sys.exit(f"{path} has no forecast; take the report of `optimize` with a target, or of `pareto`.")
    return Path(report.model.path).stem, report.forecast


def main() -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--time", type=float, default=1.5)
    parser.add_argument("--memory", type=float, default=1.3)
    arguments = parser.parse_args()
    found = [read_forecast(path) for path in arguments.reports]
    print(HEAD)
    for network, told in found:
        print(row(network, told))
    far = [network for network, told in found if not is_near(told, arguments.time, arguments.memory)]
    if far:
        sys.exit(f"Further off than {arguments.time:g} in time or {arguments.memory:g} in memory: {', '.join(far)}.")


if __name__ == "__main__":
    main()
