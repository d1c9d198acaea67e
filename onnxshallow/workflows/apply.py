"""`apply`: carry out a saved plan."""

import os
from pathlib import Path
from typing import Unpack

from onnxshallow.errors import UsageError
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.model.providers import running_on
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from onnxshallow.options.keywords import Options
from onnxshallow.report.terminal.progress import as_progress
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.candidates import find_every_candidate
from onnxshallow.search.inputs import load_inputs
from onnxshallow.search.plan import Plan, load_plan, match_plan
from onnxshallow.search.run import Run
from onnxshallow.workflows.outcome import outcome, require_data_for_gates
from onnxshallow.workflows.result import Result

__all__ = ["apply_plan"]


def apply_plan(
    model: ModelSource,
    plan: Plan | str | os.PathLike[str],
    calibration: object = None,
    *,
    validation: object = None,
    config: Config | None = None,
    progress: Progress | bool | None = None,
    force: bool = False,
    **options: Unpack[Options],
) -> Result:
    """Carry out a plan.

    Args:
        model: see `optimize`.
        plan: the plan, or the path of a saved one.
        calibration: see `optimize`, as for the following.
        validation: where accuracy is measured.
        config: all options.
        progress: shows how it goes.
        force: see `optimize`.
        **options: single options by name.

    Raises:
        UsageError: the plan does not fit the model, or options are wrong.
        ModelError: a model that cannot be used.
        DataError: data that cannot be used.
    """
    config = read_arguments(model, config, options, calibration, validation)
    clock, shown = Clock(), as_progress(progress)
    require_data_for_gates(config)
    with computing(config.threads), running_on(config.providers):
        with clock("load"):
            inputs = load_inputs(as_document(model, config.tensor_limit, freeze=config.freeze_weights), config)
            possible = find_every_candidate(inputs)
            if isinstance(plan, Plan):
                wanted = match_plan(plan, possible)
            else:
                wanted = load_plan(Path(plan), possible, inputs.document.sha256)
        _check_form(config, wanted)
        attempt = Run.begin(inputs, shown, clock, plan=wanted).attempt(wanted)
        return outcome(inputs, attempt, [], clock, force=force)


def _check_form(config: Config, plan: Plan) -> None:
    if config.mask_form == "split" and any(candidate.by_element for candidate in plan.candidates):
        raise UsageError("The plan keeps single pixels, and these have only the prelu form; leave --mask-form out.")
