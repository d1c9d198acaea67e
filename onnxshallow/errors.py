"""The errors that end a run, and the exit codes that scripts see.

Every message is one sentence or two: what was wrong, where (file, node, tensor), and what to do about it.
"""

from enum import IntEnum

__all__ = [
    "AccuracyError",
    "DataError",
    "ExitCode",
    "ModelError",
    "OnnxshallowError",
    "RuntimeMissingError",
    "TargetError",
    "UsageError",
    "WorkersError",
]


class ExitCode(IntEnum):
    """What a process ends with; the numbers are part of the contract with scripts."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    UNUSABLE_INPUT = 3
    ACCURACY = 4
    TARGET = 5


class OnnxshallowError(Exception):
    """An error whose message is meant for the user. `exit_code` is what the command line ends with."""

    exit_code: ExitCode = ExitCode.INTERNAL


class UsageError(OnnxshallowError):
    """Options that are wrong or contradict each other."""

    exit_code = ExitCode.USAGE


class ModelError(OnnxshallowError):
    """A model that cannot be read, is invalid, or does not run."""

    exit_code = ExitCode.UNUSABLE_INPUT


class RuntimeMissingError(OnnxshallowError, ImportError):
    """There is no onnxruntime."""

    exit_code = ExitCode.UNUSABLE_INPUT


class DataError(OnnxshallowError):
    """Calibration or validation data that cannot be read or does not fit the model."""

    exit_code = ExitCode.UNUSABLE_INPUT


class WorkersError(OnnxshallowError):
    """Workers that do not answer, were lost, or have other versions."""

    exit_code = ExitCode.UNUSABLE_INPUT


class AccuracyError(OnnxshallowError):
    """The result would lose more accuracy than the budget allows."""

    exit_code = ExitCode.ACCURACY


class TargetError(OnnxshallowError):
    """The targets cannot be reached on this model."""

    exit_code = ExitCode.TARGET
