"""What the benchmarks' command lines have in common: after `--` come options for onnxshallow."""

import argparse
import sys
from pathlib import Path

__all__ = ["benchmark_parser", "by_name", "read"]


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--results`, and `description` as it is."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    return result


def read(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The benchmark's own arguments, and what follows `--`."""
    own, rest = sys.argv[1:], []
    if "--" in own:
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    return parser.parse_args(own), rest


def by_name(options: list[str]) -> dict[str, object]:
    """Options such as `--calib DATA --seed 1` by their names."""
    return {name.removeprefix("--"): value for name, value in zip(options[::2], options[1::2], strict=True)}
