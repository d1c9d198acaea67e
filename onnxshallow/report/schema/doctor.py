"""The JSON report of `doctor`, which is read where packages are missing: nothing heavy is imported here."""

from onnxshallow.report.schema.part import SCHEMA_VERSION, Part

__all__ = ["CacheReport", "DoctorReport", "PackageReport"]


class PackageReport(Part):
    """A package that is required: the version that is there, and the least that is needed."""

    name: str
    version: str | None
    least: str | None
    ok: bool


class CacheReport(Part):
    """The cache of measured damages; beyond `most_bytes` what was not used for longest is removed."""

    path: str
    files: int
    size_bytes: int
    writable: bool
    most_bytes: int | None = None


class DoctorReport(Part):
    """The result of `doctor`: `extras` lists for each what it lacks, `problems` and `hints` say what to do."""

    schema_version: int = SCHEMA_VERSION
    version: str
    python: str
    platform: str
    cores: int
    memory_bytes: int | None
    packages: list[PackageReport]
    extras: dict[str, list[str]]
    providers: list[str]
    runs: bool
    cache: CacheReport
    problems: list[str]
    hints: list[str]
    exit_code: int
