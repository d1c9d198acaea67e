"""`finetune`: let an optimized model learn from its original."""

from pathlib import Path
from typing import Unpack

from onnxshallow.errors import UsageError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource
from onnxshallow.model.network import Network
from onnxshallow.model.providers import running_on
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.rewriting.realize import Realized
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.plan import Plan
from onnxshallow.search.trained import require_lesson, train
from onnxshallow.workflows.outcome import outcome, require_data_for_gates
from onnxshallow.workflows.result import Result
from onnxshallow.workflows.validate import load_models

__all__ = ["finetune"]


def finetune(
    original: ModelSource,
    optimized: ModelSource,
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    force: bool = False,
    checkpoint: Path | None = None,
    resume: bool = False,
    **options: Unpack[Options],
) -> Result:
    """Train the weights of an optimized model to say what the original says; its graph stays as it is.

    Args:
        original: path of the reference model, or the model.
        optimized: what was made of it, by this tool or by another, with the same inputs and outputs.
        calibration: unlabelled samples to learn from, see `optimize`; the option `calib` is the same.
        validation: where accuracy is measured; nothing is learned from it.
        config: all options; else they are taken from `options` and from an `onnxshallow.toml` beside the original.
        progress: shows how it goes.
        force: see `optimize`.
        checkpoint: a file that keeps how far training got, until it is done.
        resume: go on from there, if there is such a file.
        **options: single options by name; `finetune` says how long: `"10m"`, `"500steps"`, `"3epochs"`.

    Raises:
        UsageError: torch is not installed, there is nothing to learn from, or options are wrong.
        ModelError: a model cannot be used, the two do not match, or nothing of the optimized one can be trained.
        DataError: data that cannot be used.
    """
    config = read_arguments(original, config, options, calibration, validation)
    if config.finetune is None:
        raise UsageError("Say how long to train: --budget 10m, --steps 500 or --epochs 3.")
    require_lesson(config.calib is not None)
    require_data_for_gates(config)
    clock, shown = Clock(), as_progress(progress)
    with computing(config.threads), running_on(config.providers):
        with clock("load"):
            (first, second), _ = load_models([original, optimized], config, measured=True)
            inputs = load_inputs(first, config)
        start = Realized(Network(second.model, inputs.analysis.network.input_shapes), outputs=[])
        trained = train(inputs, Plan((), {}), start, shown, clock, checkpoint, resume=resume)
        return outcome(inputs, trained.attempt, [], clock, force=force, trained=trained, start=second)
