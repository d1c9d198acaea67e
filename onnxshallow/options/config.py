"""From a file and from what was given to the options of a run.

A run's options are the defaults, overridden by the config file, overridden by what was given on the command line.
"""

import difflib
import json
import logging
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from onnxshallow.errors import UsageError
from onnxshallow.options.forms import names_code
from onnxshallow.options.schema import OPTIONS, Config

__all__ = ["CONFIG_NAME", "Config", "load_config", "resolve"]

logger = logging.getLogger(__name__)

CONFIG_NAME = "onnxshallow.toml"
"""The config file that is read when it lies beside the model."""

_LIMITS = frozenset({"max_tensor", "max_data"})


def load_config(path: Path) -> dict[str, Any]:
    """Reads and checks a config file.

    Returns:
        The options that it sets, by their Python names; relative paths are resolved against the file's
        folder.

    Raises:
        UsageError: the file cannot be read, has an unknown option or an invalid value, or names code to run.
    """
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read as a config file ({error}); correct it, or name another with --config."
        ) from error
    values = _by_field_name(table, f"{path}: ")
    _build(values, f"{path}: ")
    for name in sorted({"calib", "preprocessor", "validate_data"} & values.keys()):
        values[name] = _resolve_source(values[name], path)
    return values


def resolve(cli: Mapping[str, object], model_path: Path | None, config_path: Path | None = None) -> Config:
    """The options of a run: the defaults, then the config file's, then those given.

    A file that was not named, but found beside the model, cannot change the limits for untrusted files. A preset that
    is given counts for more than what the file says of the same things.

    Args:
        cli: given options by any of their names; None counts as not given.
        model_path: the model, beside which `onnxshallow.toml` is looked for; None for a model in memory.
        config_path: a config file to read instead, which must exist.

    Raises:
        UsageError: an option is unknown or invalid, or the config file cannot be used.
    """
    given = _by_field_name({name: value for name, value in cli.items() if value is not None}, "--")
    path = config_path if config_path is not None or model_path is None else model_path.parent / CONFIG_NAME
    values: dict[str, Any] = {}
    if path is not None and (config_path is not None or path.is_file()):
        values = load_config(path)
        if config_path is None:
            _drop_limits(values, path)
        logger.info("options are read from %s", path)
    if "preset" in given:
        values = {name: value for name, value in values.items() if name not in ("mean", "std", "scale", "layout")}
    return _build(values | given, "--")


def _drop_limits(values: dict[str, Any], path: Path) -> None:
    """Limits guard against strangers' files, and a file beside the model may be a stranger's as well."""
    for name in _LIMITS & values.keys():
        logger.warning("%s lies beside the model, so its %s does not count; name it with --config.", path, name)
        del values[name]


def _by_field_name(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Renames options to their Python names; for a name that is no option the error tells the nearest."""
    options = {word: option.name for option in OPTIONS for word in option.words}
    renamed = {}
    for key, value in values.items():
        option = key.replace("_", "-")
        name = key if key in Config.model_fields else options.get(option)
        if name is None:
            nearest = difflib.get_close_matches(option, options, n=1, cutoff=0)
            raise UsageError(f"{prefix}{key} is not an option; the nearest is {nearest[0]!r}.")
        if name in renamed:
            raise UsageError(f"{prefix}{key} is another name of an option that is given as well; give it once.")
        renamed[name] = value
    return renamed


def _build(values: Mapping[str, Any], prefix: str) -> Config:
    """Validates options; the first problem becomes a sentence."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        word = {option.name: option.word for option in OPTIONS}.get(name, name)
        problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        shown = json.dumps(first["input"], default=str)
        raise UsageError(f"{prefix}{word} cannot be {shown}: {problem[0].lower()}{problem[1:]}.") from error


def _resolve_source(source: object, path: Path) -> str:
    if not isinstance(source, str):
        raise UsageError(f"{path}: data cannot be {json.dumps(source, default=str)}: it should be a path in quotes.")
    if names_code(source):
        raise UsageError(
            f"{path}: {source!r} would run code, which a config file may not ask for; name it on the command line."
        )
    return str(path.parent / source)
