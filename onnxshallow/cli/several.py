"""A command over several files: each gets its turn, and what is wrong with one keeps no other from it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from onnxshallow.cli.shell import complain, write_json, write_result
from onnxshallow.errors import OnnxshallowError, UsageError
from onnxshallow.report.terminal.console import console
from onnxshallow.text import printable

if TYPE_CHECKING:
    from onnxshallow.report.schema.several import AnalysisReports, Failed, ValidationReports

__all__ = ["each", "show_each"]

R = TypeVar("R", bound=BaseModel)


def each(paths: Sequence[Path], work: Callable[[Path], R]) -> "tuple[list[R], list[Failed]]":
    """What `work` makes of each file, and the files of which it makes nothing, which stderr is told.

    Raises:
        OnnxshallowError: there is one file, and it cannot be used.
        UsageError: the options are wrong, which goes for all files alike.
    """
    from onnxshallow.report.schema.several import Failed

    if len(paths) == 1:
        return [work(paths[0])], []
    made: list[R] = []
    failed: list[Failed] = []
    for path in paths:
        try:
            made.append(work(path))
        except UsageError:
            raise
        except OnnxshallowError as error:
            complain(str(error))
            failed.append(Failed(path=str(path), error=str(error), exit_code=int(error.exit_code)))
    return made, failed


def show_each(
    paths: Sequence[Path],
    whole: "AnalysisReports | ValidationReports",
    json: str | None,
    markdown: str | None,
    table: Callable[[R], None],
    summary: Callable[[R], str],
) -> None:
    """Show the reports of several files as tables, unless stdout is for something else, and write them where asked.

    Args:
        paths: the files.
        whole: the reports; of one file its JSON is that report.
        json: where JSON goes.
        markdown: where summaries go.
        table: shows one report.
        summary: one report in Markdown.
    """
    reports: Sequence[Any] = whole.reports
    failed = {one.path for one in whole.failed}
    if "-" not in (json, markdown):
        for path, report in zip((path for path in paths if str(path) not in failed), reports, strict=True):
            if len(paths) > 1:
                console().print(f"{printable(str(path))}:", style="bold", soft_wrap=True)
            table(report)
    write_json(reports[0] if len(paths) == 1 else whole, json)
    if markdown is not None:
        from onnxshallow.report.markdown.summary import failed_summary

        write_result("\n".join([*map(summary, reports), *map(failed_summary, whole.failed)]), markdown)
