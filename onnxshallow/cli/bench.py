"""`onnxshallow bench`: latency, memory and size of models side by side, and what private inference costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from onnxshallow.cli import options
from onnxshallow.cli.shell import Bars, check_outputs, command_line, show, start_logging, write_page
from onnxshallow.errors import UsageError
from onnxshallow.options.flags import PIXELS, Flag, Group
from onnxshallow.private.protocols import PROTOCOLS, RUNNABLE

__all__ = ["command"]

_PROTOCOLS = (*PROTOCOLS, "all")
_PRIVATE = Group("Private inference (an estimate from published and measured constants)")
_MEASURED = Group("Private inference, measured (`onnxshallow private-setup` first)")


@command_line
@options.takes(
    "rtt", "bandwidth", "weights", before="engine",
    instead={
        "rtt": Flag("Round trip between the parties.", _PRIVATE, "TIME"),
        "bandwidth": Flag("Between the parties, each way.", _PRIVATE, "RATE"),
        "weights": Flag("Whether only their owner knows the weights.", _PRIVATE),
    },
)  # fmt: skip
@options.takes(
    "validate_data", "validate_samples", before="json",
    instead={
        "validate_data": Flag("Samples for --engine.", _MEASURED, "DATA", default="made up", also=("--data",)),
        "validate_samples": Flag("How many to compare with onnxruntime.", _MEASURED, default="16"),
    },
)  # fmt: skip
@options.takes(PIXELS, "input_shape", "freeze_weights", "seed", "max_tensor", "max_data", "providers", before="json")
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The model to compare with.")],
    optimized: Annotated[Path, typer.Argument(metavar="OPTIMIZED", help="The model to time.")],
    others: Annotated[list[Path] | None, typer.Argument(metavar="MORE", help="Further models.")] = None,
    batch_size: Annotated[
        list[str] | None,
        typer.Option("--batch-size", metavar="N,...", help="Samples a run; one or several [default: 1]."),
    ] = None,
    threads: Annotated[
        list[str] | None,
        typer.Option("--threads", metavar="N,...", help="Of onnxruntime; one or several [default: all cores]."),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(
            "--runs", help="Runs of each model [default: as many as --seconds allows].", min=1, show_default=False
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            help="For each batch size and number of threads [default: 3; up to 12 while an interval is wide].",
            show_default=False,
        ),
    ] = None,
    no_memory: Annotated[bool, typer.Option("--no-memory", help="Do not measure peak memory.")] = False,
    private_model: Annotated[
        list[str] | None,
        typer.Option(
            "--private-model",
            metavar="|".join(_PROTOCOLS),
            help="Protocol to estimate the cost of; one or several.",
            autocompletion=options.one_of(*_PROTOCOLS),
            rich_help_panel=_PRIVATE.title,
        ),
    ] = None,
    engine: Annotated[
        Literal["spu"] | None,
        typer.Option("--engine", help="Run the models under secure computation.", rich_help_panel=_MEASURED.title),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="|".join(RUNNABLE),
            help="For --engine; one or several [default: semi2k].",
            autocompletion=options.one_of(*RUNNABLE),
            rich_help_panel=_MEASURED.title,
        ),
    ] = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
    html: options.HtmlPath = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Time models in onnxruntime, in turns, on random input, and compare each with the first.

    For every batch size and number of threads: median latency, samples a second and the ratio to the first model,
    with 95 % intervals; peak memory, measured in a process of its own; file size.

    Examples:
      onnxshallow bench net.onnx net.shallow.onnx
      onnxshallow bench a.onnx b.onnx c.onnx --threads 1,2 --batch-size 1,32
      onnxshallow bench a.onnx b.onnx --private-model semi2k --rtt 40ms
      onnxshallow bench a.onnx b.onnx --engine spu --protocol aby3 --rtt 40ms
    """
    start_logging(log_level)
    models = [original, optimized, *(others or [])]
    names = ["the original", "the optimized model", *(f"model {n}" for n in range(3, len(models) + 1))]
    outputs = {"--json": json, "--markdown": markdown, "--html": html}
    check_outputs(outputs, dict(zip(names, models, strict=True)))
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"--seconds {seconds:g}: give a time above zero, such as 3.")
    if protocol and not engine:
        raise UsageError("--protocol is for --engine spu; to estimate without running, give --private-model.")
    sizes, counts = _counts("--batch-size", batch_size), _counts("--threads", threads)
    from onnxshallow.options.config import resolve
    from onnxshallow.private.link import parse_bandwidth, parse_rtt
    from onnxshallow.private.protocols import choose_protocols, choose_runnable
    from onnxshallow.report.markdown.summary import bench_summary
    from onnxshallow.report.terminal.bench import print_bench
    from onnxshallow.workflows.bench import BenchOptions, bench

    config = resolve(given, original)
    wanted = BenchOptions(
        batch_sizes=sizes or (1,),
        threads=counts,
        runs=runs,
        seconds=seconds,
        memory=not no_memory,
        protocols=choose_protocols(private_model or []),
        rtt=parse_rtt(config.rtt),
        bandwidth=parse_bandwidth(config.bandwidth),
        weights=config.weights,
        engine=choose_runnable(protocol or ["semi2k"]) if engine else (),
    )
    report = bench(*models, measure=wanted, config=config, progress=Bars())
    show(report, json, print_bench, markdown, bench_summary)
    write_page(report, html, "bench_page")


def _counts(option: str, texts: Sequence[str] | None) -> tuple[int, ...]:
    """The whole numbers above zero in texts such as "1,8,32".

    Raises:
        UsageError: there is something else in them.
    """
    parts = [part.strip() for text in texts or () for part in text.split(",")]
    wrong = next((part for part in parts if not (part.isascii() and part.isdigit()) or int(part) == 0), None)
    if wrong is not None:
        raise UsageError(f"{option} {wrong!r}: give whole numbers above zero, such as 1 or 1,8,32.")
    return tuple(map(int, parts))
