"""What runs return: a model with its plan and report, or a plan and what it would do."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from onnxshallow.errors import OnnxshallowError, TargetError, UsageError
from onnxshallow.model.document import Document, save_model
from onnxshallow.model.files import write_text
from onnxshallow.report.schema.figures import change
from onnxshallow.report.schema.reports import PlanReport, Report
from onnxshallow.search.plan import Plan, save_plan

if TYPE_CHECKING:
    from onnxshallow.report.page.plot import Svg

__all__ = ["Proposal", "Result"]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What came of a run.

    Attributes:
        document: the original.
        model: the optimized model; None where the run failed on its target.
        plan: what was done.
        report: everything in numbers.
        error: why the result must not be used; None where the goal is met, or the model was forced.
    """

    document: Document
    model: onnx.ModelProto | None
    plan: Plan | None
    report: Report
    error: OnnxshallowError | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the optimized model.

        Raises:
            AccuracyError: it must not be used, see `error`.
            TargetError: likewise, or there is no model, as the target cannot be reached.
            UsageError: `path` is a file of the original.
            ModelError: the folder cannot be written to.
        """
        if self.error is not None:
            raise self.error
        self._require_free(path)
        if self.model is not None:
            save_model(self.model, path, external=self.document.external)

    def save_plan(self, path: str | os.PathLike[str]) -> None:
        """Write the plan, for `apply_plan`.

        Raises:
            TargetError: there is no plan, as the target cannot be reached.
            UsageError: `path` is a file of the original.
            ModelError: the folder cannot be written to.
        """
        if self.plan is None:
            raise self.error or TargetError("There is no plan to save; raise the target.")
        self._require_free(path)
        save_plan(self.plan, self.document.sha256, Path(path))

    def save_report(self, path: str | os.PathLike[str]) -> None:
        """Write the report: as a page where the path ends in `.html`, else as JSON.

        It does not say where the model was saved, as that is not known to it.

        Raises:
            UsageError: `path` is a file of the original.
            ModelError: the folder cannot be written to.
        """
        from onnxshallow.report.page.html import html_report

        self._require_free(path)
        target = Path(path)
        page = target.suffix.lower() in (".html", ".htm")
        write_text(html_report(self.report) if page else self.report.model_dump_json(indent=2) + "\n", target)

    def plot(self) -> "Svg":
        """The damage of the plans that competed, as an SVG: a notebook shows it, and as a text it can be written.

        Raises:
            UsageError: no plans competed, so there is nothing to draw.
        """
        from onnxshallow.workflows.plot import plot

        return plot(self.report)

    def _require_free(self, path: str | os.PathLike[str]) -> None:
        """Make sure that `path` is no file of the original.

        Raises:
            UsageError: it is.
        """
        if self.document.owns(Path(path)):
            raise UsageError(f"{path} belongs to the input model, which is never overwritten; give another path.")

    def __repr__(self) -> str:
        return repr(self.report).replace("<Report:", "<Result:")

    def _repr_html_(self) -> str:
        """The figures as a table, for notebooks."""
        return self.report._repr_html_()


@dataclass(frozen=True, eq=False, repr=False)
class Proposal:
    """A plan that was not carried out.

    Attributes:
        document: the original.
        plan: what would be done.
        report: what that would save, and what each change was measured to damage.
    """

    document: Document
    plan: Plan
    report: PlanReport

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan, for `apply_plan`.

        Raises:
            ModelError: the folder cannot be written to.
        """
        save_plan(self.plan, self.document.sha256, Path(path))

    def __repr__(self) -> str:
        changes = f"{len(self.plan.candidates)} changes"
        damage = f"damage about {self.report.damage:.4g}"
        return f"<Proposal: {changes}, {change(self.report.original, self.report.predicted)}, {damage}>"
