"""JSON Schemas of what scripts read and write: the options file, and the reports."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from onnxshallow.errors import UsageError
from onnxshallow.options.schema import OPTIONS, Config
from onnxshallow.report.schema.engine import SetupReport
from onnxshallow.report.schema.part import SCHEMA_VERSION
from onnxshallow.report.schema.reports import (
    AnalysisReport,
    BenchReport,
    DoctorReport,
    ParetoReport,
    PlanReport,
    Report,
    SensitivityReport,
    ValidationReport,
)
from onnxshallow.report.schema.several import AnalysisReports, ValidationReports

__all__ = ["PUBLISHED", "json_schema"]

PUBLISHED: dict[str, type[BaseModel]] = {
    "options": Config,
    "analyze": AnalysisReport,
    "analyze-several": AnalysisReports,
    "sensitivity": SensitivityReport,
    "optimize": Report,
    "dry-run": PlanReport,
    "pareto": ParetoReport,
    "validate": ValidationReport,
    "validate-several": ValidationReports,
    "bench": BenchReport,
    "private-setup": SetupReport,
    "doctor": DoctorReport,
}
"""What has a schema, by name: the options file, and what each command reports.

`apply` and `finetune` report as `optimize` does.
"""


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles of fields, which repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _OfReports(_Untitled):
    """Says which version of the reports it holds for, and allows for fields that are added within it."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        made = super().model_schema(schema)
        made.pop("additionalProperties", None)
        if "schema_version" in made["properties"]:
            made["properties"]["schema_version"] = {"const": SCHEMA_VERSION, "type": "integer"}
        return made


class _OfOptions(_Untitled):
    """Leaves out null, which TOML has not."""

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        found = super().default_schema(schema)
        return {name: value for name, value in found.items() if name != "default" or value is not None}


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of what has a name in `PUBLISHED`.

    Raises:
        UsageError: nothing has that name.
    """
    if name not in PUBLISHED:
        raise UsageError(f"There is no schema {name!r}; there are {', '.join(PUBLISHED)}.")
    model = PUBLISHED[name]
    if model is Config:
        made = model.model_json_schema(schema_generator=_OfOptions)
        described = made["properties"]
        made["properties"] = {word: described[each.word] for each in OPTIONS for word in each.words}
    else:
        made = model.model_json_schema(schema_generator=_OfReports, mode="serialization")
    return {"$schema": GenerateJsonSchema.schema_dialect, **made}
