"""The JSON of a command that was given several files; of one file it is that file's report."""

from pydantic import Field, computed_field

from onnxshallow.report.schema.part import SCHEMA_VERSION, Part
from onnxshallow.report.schema.reports import AnalysisReport, ValidationReport

__all__ = ["AnalysisReports", "Failed", "ValidationReports"]


class Failed(Part):
    """A file that cannot be used, why, and the exit code that it would have had alone."""

    path: str
    error: str
    exit_code: int


class AnalysisReports(Part):
    """The result of `analyze` with several models: a report each, in their order, and those that cannot be used."""

    schema_version: int = SCHEMA_VERSION
    reports: list[AnalysisReport]
    failed: list[Failed] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """The highest of the exit codes that each would have had alone."""
        return max((one.exit_code for one in self.failed), default=0)


class ValidationReports(Part):
    """The result of `validate` with several models, each against the original, and those that cannot be used."""

    schema_version: int = SCHEMA_VERSION
    reports: list[ValidationReport]
    failed: list[Failed] = Field(default_factory=list)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """The highest of the exit codes that each would have had alone."""
        codes = [one.exit_code for one in self.failed] + [one.verdict.exit_code for one in self.reports]
        return max(codes, default=0)
