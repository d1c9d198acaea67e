"""The end of `optimize` and `apply`: write the model, the plan and the report, and say how it went."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onnxshallow.cli.shell import check_outputs, write_json
from onnxshallow.errors import ExitCode, OnnxshallowError

if TYPE_CHECKING:
    from onnxshallow.pipeline import Result

__all__ = ["finish", "no_stale_output", "output_path"]


def output_path(
    model: Path, output: Path | None, json: str | None, plan_out: Path | None = None, plan: Path | None = None
) -> Path:
    """Where the optimized model goes; its report goes beside it, with the suffix `.json`.

    Args:
        model: the original.
        output: what the user asked for.
        json: where a copy of the report goes.
        plan_out: where the plan goes.
        plan: the plan that is read.

    Raises:
        UsageError: something would be written over the original, the plan or another result, or cannot be written.
    """
    target = output if output is not None else model.with_name(f"{model.stem}.shallow.onnx")
    read = {"the input model": model, "the plan": plan}
    check_outputs({"--output": target}, read)
    report = target.with_suffix(".json")
    copy = None if json is not None and Path(json) == report else json
    check_outputs({"--output": target, "the report": report, "--json": copy, "--plan-out": plan_out}, read)
    return target


@contextmanager
def no_stale_output(target: Path) -> Iterator[None]:
    """Remove `target` and its report when the run fails on its model or data.

    So no earlier result is taken for this run's.
    """
    try:
        yield
    except OnnxshallowError as error:
        if error.exit_code != ExitCode.USAGE:
            target.unlink(missing_ok=True)
            target.with_suffix(".json").unlink(missing_ok=True)
        raise


def finish(result: "Result", target: Path, json: str | None, plan_out: Path | None, keep_rejected: bool) -> None:
    """Write what the run is to leave behind, and end with its exit code.

    A rejected result leaves no model, also none of an earlier run, unless `keep_rejected`.
    """
    from onnxshallow.model.document import save_model
    from onnxshallow.model.files import file_digest
    from onnxshallow.planning.plan import save_plan
    from onnxshallow.report.console import print_result
    from onnxshallow.report.schema import FileReport

    report = result.report
    if result.model is not None and (result.error is None or keep_rejected):
        save_model(result.model, target, external=result.document.external)
        written = FileReport(path=str(target), sha256=file_digest(target))
        report = report.model_copy(update={"output": written})
    else:
        target.unlink(missing_ok=True)
    if plan_out is not None and result.plan is not None:
        save_plan(result.plan, result.document.sha256, plan_out)
    write_json(report, target.with_suffix(".json"))
    if json == "-":
        write_json(report, "-")
    else:
        write_json(report, json)
        print_result(report, target.with_suffix(".json"))
    if result.error is not None:
        typer.echo(f"error: {result.error}", err=True)
        raise typer.Exit(int(result.error.exit_code))
    raise typer.Exit(int(ExitCode.OK))
