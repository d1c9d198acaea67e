"""`onnxshallow bench`: latency of models side by side."""

from pathlib import Path
from typing import Annotated

import typer

from onnxshallow.cli import options
from onnxshallow.cli.shell import check_outputs, command_line, start_logging, write_json

__all__ = ["command"]


@command_line
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The model to compare with.")],
    optimized: Annotated[Path, typer.Argument(metavar="OPTIMIZED", help="The model to time.")],
    batch_size: Annotated[int, typer.Option("--batch-size", help="Samples a run.", min=1)] = 1,
    runs: Annotated[int, typer.Option("--runs", help="Runs of each model.", min=1)] = 100,
    threads: options.Threads = None,
    input_shape: options.InputShape = None,
    seed: options.Seed = None,
    max_tensor: options.MaxTensor = None,
    json: options.Json = None,
    log_level: options.LogLevel = "warning",
) -> None:
    """Time two models in onnxruntime, in turns, on random input: medians, and the ratio between them.

    Examples:
      onnxshallow bench net.onnx net.shallow.onnx
      onnxshallow bench net.onnx net.shallow.onnx --threads 2 --batch-size 32
    """
    start_logging(log_level)
    check_outputs({"--json": json}, {"the original": original, "the optimized model": optimized})
    from onnxshallow.comparison import bench_files
    from onnxshallow.config import resolve
    from onnxshallow.report.console import print_bench

    given = {"input_shape": input_shape, "threads": threads, "seed": seed, "max_tensor": max_tensor}
    config = resolve(given, original)
    report = bench_files(original, optimized, config, batch_size, runs)
    if json != "-":
        print_bench(report)
    write_json(report, json)
