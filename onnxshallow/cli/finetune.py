"""`onnxshallow finetune`: let an optimized model learn from its original."""

from pathlib import Path
from typing import Annotated, Any

import typer

from onnxshallow.cli import options
from onnxshallow.cli.finish import finish, no_stale_output, outputs
from onnxshallow.cli.shell import Bars, check_outputs, command_line, files_read, start_logging
from onnxshallow.errors import UsageError
from onnxshallow.options.flags import DATA, GATES, MACHINE, PIXELS, RESULT, TRAINING
from onnxshallow.options.quantities import read_time

__all__ = ["command"]

Budget = Annotated[
    str | None,
    typer.Option(
        "--budget", metavar="TIME", help="Train for this time, such as 10m.", rich_help_panel=TRAINING.title
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", metavar="N", min=1, help="Train for so many batches.", rich_help_panel=TRAINING.title),
]
Epochs = Annotated[
    float | None,
    typer.Option(
        "--epochs", metavar="X", help="Go through the samples so many times.", rich_help_panel=TRAINING.title
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where a run with the same arguments was interrupted or killed.",
        rich_help_panel=TRAINING.title,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="The model to write [default: OPTIMIZED.finetuned.onnx].",
        rich_help_panel=options.RESULT,
    ),
]


@command_line
@options.takes("augment", "train_samples", "labels", before="resume")
@options.takes("max_drop", GATES, before="output", instead={"max_drop": options.MAX_DROP})
@options.takes(DATA, PIXELS, MACHINE, before="config")
@options.takes(RESULT, before="config")
def command(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="The model to learn from.")],
    optimized: Annotated[Path, typer.Argument(metavar="OPTIMIZED", help="The model that learns; it stays as it is.")],
    budget: Budget = None,
    steps: Steps = None,
    epochs: Epochs = None,
    resume: Resume = False,
    output: Output = None,
    keep_rejected: options.KeepRejected = False,
    force: options.Force = False,
    config: options.ConfigPath = None,
    json: options.Json = None,
    markdown: options.Markdown = None,
    card: options.Card = None,
    log_level: options.LogLevel = "warning",
    **given: Any,
) -> None:
    """Train the weights of an optimized model to say what the original says, without labels; the graph stays.

    Needs torch: pip install 'onnxshallow[finetune]'. A first Ctrl-C ends training and keeps the best so far.

    Examples:
      onnxshallow finetune a.onnx b.onnx --calib images.npz --budget 10m
      onnxshallow finetune a.onnx b.onnx --calib images/ --crop 224 --steps 500
    """
    start_logging(log_level)
    from onnxshallow.options.config import resolve
    from onnxshallow.workflows.finetune import finetune

    resolved = resolve({**given, "finetune": _length(budget, steps, epochs)}, original, config)
    target = output if output is not None else optimized.with_name(f"{optimized.stem}.finetuned.onnx")
    read = {**files_read(original, resolved, config), "the optimized model": optimized}
    targets = outputs(read, target, json, markdown=markdown, card=card)
    checkpoint = target.with_suffix(".checkpoint")
    check_outputs({"the checkpoint": checkpoint}, read)
    with no_stale_output(targets):
        result = finetune(
            original,
            optimized,
            config=resolved,
            progress=Bars(),
            force=force,
            checkpoint=checkpoint,
            resume=resume,
        )
    finish(result, targets, keep_rejected)


def _length(budget: str | None, steps: int | None, epochs: float | None) -> str | None:
    """How long training takes, in the one form that the option `finetune` has."""
    asked = {"--budget": budget, "--steps": steps, "--epochs": epochs}
    named = [flag for flag, value in asked.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} say the same in different ways; give one of them.")
    if epochs is not None and epochs <= 0:
        raise UsageError(f"--epochs cannot be {epochs:g}: it must be above zero.")
    if budget is not None:
        try:
            read_time(budget)
        except ValueError as error:
            raise UsageError(f'--budget cannot be "{budget}": {error}.') from error
    if steps is not None:
        return f"{steps}steps"
    return f"{epochs:g}epochs" if epochs is not None else budget
