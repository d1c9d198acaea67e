"""From what a function of the Python API is given to its options."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxshallow.errors import UsageError
from onnxshallow.model.document import MEMORY, Document, ModelSource
from onnxshallow.options.config import Config, resolve

__all__ = ["read_arguments"]


def read_arguments(
    model: ModelSource,
    config: Config | None,
    options: Mapping[str, Any],
    calibration: object = None,
    validation: object = None,
) -> Config:
    """The options of a run.

    Args:
        model: beside whose file an `onnxshallow.toml` is looked for, where `config` is None.
        config: all options, which no file changes.
        options: single options by name.
        calibration: another way to give the option `calib`.
        validation: another way to give the option `validate`.

    Raises:
        UsageError: an option is given twice, unknown or invalid.
    """
    given = dict(options)
    for argument, value, names in (
        ("calibration", calibration, ("calib",)),
        ("validation", validation, ("validate", "validate_data")),
    ):
        if value is None:
            continue
        if twice := next((name for name in names if given.get(name) is not None), None):
            raise UsageError(f"{argument} and {twice} are one and the same; give one of them.")
        given[names[0]] = value
    if config is None:
        return resolve(given, _path(model))
    if options:
        raise UsageError(f"{next(iter(options))} is given beside config; set it in the config.")
    return resolve({**dict(config), **given}, None) if given else config


def _path(model: ModelSource) -> Path | None:
    if isinstance(model, Document):
        return None if model.path == MEMORY else model.path
    return Path(model) if isinstance(model, str | os.PathLike) else None
