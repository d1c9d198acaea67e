"""The end of `optimize` and `apply`: write the model, the plan and the report, and say how it went."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onnxshallow.cli.shell import check_outputs, complain, write_json
from onnxshallow.errors import ExitCode, OnnxshallowError, UsageError

if TYPE_CHECKING:
    from onnxshallow.report.schema import Report
    from onnxshallow.result import Proposal, Result

__all__ = ["finish", "no_stale_output", "output_path", "propose"]


def output_path(
    read: Mapping[str, Path], output: Path | None, json: str | None, plan_out: Path | None = None
) -> Path:
    """Where the optimized model goes; its report goes beside it, with the suffix `.json`.

    Args:
        read: the files that the run reads, by what they are, the original first.
        output: what the user asked for.
        json: where a copy of the report goes.
        plan_out: where the plan goes.

    Raises:
        UsageError: something would be written over what is read or over another result.
        ModelError: a folder cannot be written to.
    """
    model = next(iter(read.values()))
    target = output if output is not None else model.with_name(f"{model.stem}.shallow.onnx")
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
            _remove(target)
        raise


def _remove(target: Path) -> None:
    """Remove a result and its report; what cannot be removed stays, and the error that led here is told."""
    from onnxshallow.model.document import remove_model

    with suppress(OnnxshallowError, OSError):
        remove_model(target)
        target.with_suffix(".json").unlink(missing_ok=True)


def finish(result: "Result", target: Path, json: str | None, plan_out: Path | None, keep_rejected: bool) -> None:
    """Write what the run is to leave behind, and end with its exit code.

    A rejected result leaves no model, also none of an earlier run, unless `keep_rejected`. When two runs write the
    same target, the model and the report that stay are of one of them.

    Raises:
        UsageError: something would be written over a data file of the original.
        ModelError: a file cannot be written; then no result is left.
    """
    from onnxshallow.model.files import locked
    from onnxshallow.report.console import print_result

    for path in (target, target.with_suffix(".json"), plan_out, None if json is None else Path(json)):
        if path is not None and path.resolve() in result.document.data_files:
            raise UsageError(
                f"{path} holds weights of the input model, which are never overwritten; give another path."
            )
    try:
        with locked(target.parent):
            report = _write(result, target, json, plan_out, keep_rejected)
    except OnnxshallowError:
        _remove(target)
        raise
    if json == "-":
        write_json(report, "-")
    else:
        print_result(report, target.with_suffix(".json"))
    if result.error is not None:
        complain(str(result.error))
        raise typer.Exit(int(result.error.exit_code))
    raise typer.Exit(int(ExitCode.OK))


def propose(proposal: "Proposal", json: str | None, plan_out: Path | None) -> None:
    """Show a plan that was not carried out, and write it where asked; a result of an earlier run stays.

    Raises:
        ModelError: a file cannot be written.
    """
    from onnxshallow.report.console import print_plan

    if plan_out is not None:
        proposal.save(plan_out)
    if json != "-":
        print_plan(proposal.report)
    write_json(proposal.report, json)


def _write(result: "Result", target: Path, json: str | None, plan_out: Path | None, keep_rejected: bool) -> "Report":
    """Write the model, the plan and the report, which names the model; returns the report."""
    from onnxshallow.model.document import remove_model, save_model
    from onnxshallow.model.files import file_digest
    from onnxshallow.planning.plan import save_plan
    from onnxshallow.report.schema import FileReport

    report = result.report
    if result.model is not None and (result.error is None or keep_rejected):
        save_model(result.model, target, external=result.document.external)
        written = FileReport(path=str(target), sha256=file_digest(target))
        report = report.model_copy(update={"output": written})
    else:
        remove_model(target)
    if plan_out is not None and result.plan is not None:
        save_plan(result.plan, result.document.sha256, plan_out)
    write_json(report, target.with_suffix(".json"))
    if json != "-":
        write_json(report, json)
    return report
