"""What all parts of the JSON reports have in common."""

from pydantic import BaseModel, ConfigDict

__all__ = ["SCHEMA_VERSION", "Part"]

SCHEMA_VERSION = 1
"""Of the JSON reports; it grows when a script that reads them would break."""


class Part(BaseModel):
    """A part of a report: it never changes, and has no field that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid")
