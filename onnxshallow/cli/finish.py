"""The end of `optimize` and `apply`: write the model, the plan and the report, and say how it went."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onnxshallow.cli.pages import BESIDE
from onnxshallow.cli.shell import check_outputs, complain, show, write_json, write_result
from onnxshallow.errors import ExitCode, OnnxshallowError, UsageError

if TYPE_CHECKING:
    from onnxshallow.report.schema.reports import Report
    from onnxshallow.workflows.result import Proposal, Result

__all__ = ["Outputs", "finish", "no_stale_output", "outputs", "propose"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Where a run's results go.

    Attributes:
        model: the optimized model.
        json: where the report goes; `-` for stdout, None for beside the model.
        plan: the plan.
        html: the report as a page.
        markdown: a summary; `-` for stdout.
        card: the model's card.
    """

    model: Path
    json: str | None = None
    plan: Path | None = None
    html: Path | None = None
    markdown: str | None = None
    card: Path | None = None

    @property
    def beside(self) -> Path:
        """Where the report lies that is asked for nowhere else."""
        return self.model.with_suffix(".json")

    @property
    def report(self) -> Path | None:
        """The file of the report; None for stdout."""
        return self.beside if self.json is None else None if self.json == "-" else Path(self.json)

    @property
    def files(self) -> dict[str, Path | None]:
        """Every file that is written, by option; stdout is none."""
        summary = None if self.markdown is None or self.markdown == "-" else Path(self.markdown)
        named = {"--output": self.model, "the report" if self.json is None else "--json": self.report}
        pages = {"--html": self.html, "--markdown": summary, "--card": self.card}
        return {**named, "--plan-out": self.plan, **pages}

    def named(self, *, with_plan: bool) -> dict[str, Path | None]:
        """The files beside the model as the terminal names them; of a run without a plan that of none."""
        summary = self.files["--markdown"]
        plan = self.plan if with_plan else None
        return {"Report": self.report, "Page": self.html, "Summary": summary, "Card": self.card, "Plan": plan}


def outputs(
    read: Mapping[str, Path],
    output: Path | None,
    json: str | None,
    plan_out: Path | None = None,
    html: str | None = None,
    markdown: str | None = None,
    card: str | None = None,
) -> Outputs:
    """Where the optimized model goes, its report, which else goes beside it with the suffix `.json`, and the rest.

    Args:
        read: the files that the run reads, by what they are, the original first.
        output: what the user asked for.
        json: where the report goes.
        plan_out: where the plan goes.
        html: where the page goes; `BESIDE` for beside the model.
        markdown: where the summary goes.
        card: where the card goes; `BESIDE` for beside the model.

    Raises:
        UsageError: something would be written over what is read or over another result, or two go to stdout.
        ModelError: a folder cannot be written to.
    """
    model = next(iter(read.values()))
    target = output if output is not None else model.parent / f"{model.stem}.shallow.onnx"
    check_outputs({"--output": target}, read)
    page, model_card = (
        target.with_suffix(suffix) if path == BESIDE else None if path is None else Path(path)
        for path, suffix in ((html, ".html"), (card, ".md"))
    )
    found = Outputs(target, json, plan_out, page, markdown, model_card)
    check_outputs({"--json": json, "--markdown": markdown}, read)
    check_outputs(found.files, read)
    return found


@contextmanager
def no_stale_output(targets: Outputs) -> Iterator[None]:
    """Remove an earlier run's results from `targets` when this one fails on its model or data.

    So no earlier result is taken for this run's.
    """
    try:
        yield
    except OnnxshallowError as error:
        if error.exit_code != ExitCode.USAGE:
            _remove(targets)
        raise


def _remove(targets: Outputs) -> None:
    """Remove a result and its reports; what cannot be removed stays, and the error that led here is told."""
    from onnxshallow.model.document import remove_model

    with suppress(OnnxshallowError, OSError):
        remove_model(targets.model)
        for path in targets.files.values():
            if path is not None:
                path.unlink(missing_ok=True)
        _remove_earlier(targets)


def _remove_earlier(targets: Outputs) -> None:
    """Remove the report that an earlier run left beside the model, where this one's goes elsewhere."""
    import json

    if targets.report == targets.beside:
        return
    with suppress(OSError, ValueError):
        said = json.loads(targets.beside.read_text(encoding="utf-8"))
        if isinstance(said, dict) and {"schema_version", "verdict", "output"} <= said.keys():
            targets.beside.unlink()


def finish(result: "Result", targets: Outputs, keep_rejected: bool) -> None:
    """Write what the run is to leave behind, and end with its exit code.

    A refused result leaves no model, also none of an earlier run, unless `keep_rejected`. When two runs write the
    same target, the model and the report that stay are of one of them.

    Raises:
        UsageError: something would be written over a data file of the original.
        ModelError: a file cannot be written; then no result is left.
    """
    from onnxshallow.model.files import locked
    from onnxshallow.report.terminal.runs import print_result

    for path in targets.files.values():
        if path is not None and result.document.owns(path):
            raise UsageError(
                f"{path} holds weights of the input model, which are never overwritten; give another path."
            )
    try:
        with locked(targets.model.parent):
            report = _write(result, targets, keep_rejected)
    except OnnxshallowError:
        _remove(targets)
        raise
    if targets.json == "-":
        write_json(report, "-")
    elif targets.markdown != "-":
        print_result(report, targets.named(with_plan=result.plan is not None))
    if report.verdict.overridden:
        logger.warning("Written though refused, as --force asks: %s", " ".join(report.verdict.overridden))
    if result.error is not None:
        complain(str(result.error))
        raise typer.Exit(int(result.error.exit_code))
    raise typer.Exit(int(ExitCode.OK))


def propose(proposal: "Proposal", json: str | None, plan_out: Path | None) -> None:
    """Show a plan that was not carried out, and write it where asked; a result of an earlier run stays.

    Raises:
        ModelError: a file cannot be written.
    """
    from onnxshallow.report.terminal.runs import print_plan

    if plan_out is not None:
        proposal.save(plan_out)
    show(proposal.report, json, print_plan)


def _write(result: "Result", targets: Outputs, keep_rejected: bool) -> "Report":
    """Write the model, the plan and the reports, which name the model; returns the report."""
    from onnxshallow.model.document import remove_model, save_model
    from onnxshallow.model.files import file_digest, write_text
    from onnxshallow.report.schema.reports import FileReport

    report = result.report
    if result.model is not None and (result.error is None or keep_rejected):
        save_model(result.model, targets.model, external=result.document.external)
        written = FileReport(path=str(targets.model), sha256=file_digest(targets.model))
        report = report.model_copy(update={"output": written})
    else:
        remove_model(targets.model)
    if targets.plan is not None and result.plan is not None:
        result.save_plan(targets.plan)
    elif targets.plan is not None:
        targets.plan.unlink(missing_ok=True)
    write_json(report, targets.report)
    _remove_earlier(targets)
    if targets.html is not None:
        from onnxshallow.report.page.html import html_report

        write_text(html_report(report), targets.html)
    if targets.markdown is not None:
        from onnxshallow.report.markdown.summary import run_summary

        write_result(run_summary(report), targets.markdown)
    if targets.card is not None:
        from onnxshallow.report.markdown.card import model_card

        write_text(model_card(report), targets.card)
    return report
