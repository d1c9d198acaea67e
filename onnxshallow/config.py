"""All options in one schema, for the command line, the API and `onnxshallow.toml`.

A run's options are the defaults, overridden by the config file, overridden by what was given on the command
line. Names are snake_case in Python and kebab-case in the file and on the command line. numpy is imported
late, so that `--help` stays fast.
"""

import difflib
import json
import logging
import math
import re
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from onnxshallow.errors import UsageError

if TYPE_CHECKING:
    from onnxshallow.data.preprocessing import Preprocessing

__all__ = ["CONFIG_NAME", "Config", "load_config", "parse_bytes", "parse_latency", "parse_target", "resolve"]

logger = logging.getLogger(__name__)

CONFIG_NAME = "onnxshallow.toml"
"""The config file that is read when it lies beside the model."""

COUNT_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
BYTE_SUFFIXES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LIMITS = frozenset({"max_tensor", "max_data"})
NUMBER = r"(?P<number>\d+(?:\.\d*)?(?:e[+-]?\d{1,2})?|\.\d+)"


def _numbers(value: object) -> object:
    """Lets "0.4, 0.5, 0.6" and a single number stand for a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return (value,) if isinstance(value, int | float) else value


def _shapes(value: object) -> object:
    """Lets "NAME:1,3,224,224", or a list of such, stand for a mapping of names to shapes."""
    if value is None or isinstance(value, Mapping):
        return value
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and ":" in item for item in items):
        raise ValueError("a shape is given as NAME:1,3,224,224")
    return {name: sizes.split(",") for name, sizes in (item.rsplit(":", 1) for item in items)}


def _text(value: object) -> object:
    """Lets an integer stand for its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Target = float | str | None
Numbers = Annotated[tuple[float, ...] | None, BeforeValidator(_numbers)]
Size = Annotated[int, Field(gt=0)]


class Config(BaseModel):
    """The options of a run, checked.

    Attributes:
        target_relus: what part of the ReLU count may stay (0.58), or how many (above 1; "320k" and "1.2M"
            too).
        target_macs: likewise for multiply-accumulates.
        target_depth: likewise for the linear layers on the longest path.
        target_latency: what part of the latency on this machine may stay (0.7), or how long it may be ("3.5ms").
        max_drop: accuracy that may be lost, as a fraction.
        min_agreement: the least share of samples to which `validate` wants both models to give the same class.
        max_error: the largest relative error of an output that `validate` allows.
        kernel: kernel of a fused convolution: "3", "5", "exact" (the composed extent) or "auto".
        calib: where calibration samples come from: `.npz`, folder or `file.py:function`; None for synthetic
            ones.
        calib_samples: how many of them to use.
        validate_data: where validation samples come from (`validate` outside Python).
        validate_samples: how many of them to use; None for all.
        mean: see `Preprocessing`, as for the following.
        std: per channel.
        scale: divides pixels.
        layout: axis order of uint8 arrays.
        resize: pixels.
        crop: pixels.
        channels: the network's channel order.
        preset: preprocessing by name, which explicit values override.
        sensitivity: the measure of damage.
        ridge: strength of the penalty in fits, relative to the mean diagonal of the normal equations; None for
            0.001 with real data and 10 with synthetic images.
        correction: whether convolutions downstream of a change are re-fitted.
        seed: of everything random.
        memory: how much memory the process may take, such as "4G"; None to decide by the machine.
        max_tensor: the largest tensor that a model may compute for one sample, such as "4G"; None for 512 MiB.
        max_data: the most that a source of samples may hold, unpacked, such as "64G"; None for 16 GiB.
        batch_size: samples a batch.
        threads: of onnxruntime; None for all cores.
        input_shape: sizes for symbolic axes, by input name.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    target_relus: Target = None
    target_macs: Target = None
    target_depth: Target = None
    target_latency: Target = None
    max_drop: float | None = Field(None, ge=0, le=1)
    min_agreement: float | None = Field(None, ge=0, le=1)
    max_error: float | None = Field(None, ge=0)
    kernel: Annotated[Literal["auto", "exact", "3", "5"], BeforeValidator(_text)] = "auto"
    calib: str | None = None
    calib_samples: Size = 1024
    validate_data: str | None = Field(None, alias="validate")
    validate_samples: Size | None = None
    mean: Numbers = None
    std: Numbers = None
    scale: float = Field(255.0, gt=0)
    layout: Literal["nchw", "nhwc"] | None = None
    resize: Size | None = None
    crop: Size | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    preset: Literal["imagenet", "cifar10", "cifar100", "mnist"] | None = None
    sensitivity: Literal["kl", "mse", "disagreement", "magnitude"] = "kl"
    ridge: float | None = Field(None, ge=0, allow_inf_nan=False)
    correction: bool = True
    seed: int = Field(0, ge=0)
    memory: Annotated[str | None, BeforeValidator(_text)] = None
    max_tensor: Annotated[str | None, BeforeValidator(_text)] = None
    max_data: Annotated[str | None, BeforeValidator(_text)] = None
    batch_size: Size = 64
    threads: Size | None = None
    input_shape: Annotated[dict[str, tuple[Size, ...]] | None, BeforeValidator(_shapes)] = None

    @field_validator("target_relus", "target_macs", "target_depth", mode="before")
    @classmethod
    def _check_target(cls, value: object) -> object:
        if value is not None:
            _read_target(value)
        return value

    @field_validator("target_latency", mode="before")
    @classmethod
    def _check_latency(cls, value: object) -> object:
        if value is not None:
            _read_latency(value)
        return value

    @field_validator("memory", "max_tensor", "max_data")
    @classmethod
    def _check_bytes(cls, value: str | None) -> str | None:
        if value is not None:
            _read_bytes(value)
        return value

    @property
    def tensor_limit(self) -> int:
        """The most bytes that a tensor of a model may take for one sample."""
        from onnxshallow.model.limits import MAX_TENSOR

        return MAX_TENSOR if self.max_tensor is None else parse_bytes(self.max_tensor)

    @property
    def data_limit(self) -> int | None:
        """The most bytes that one source of samples may hold, unpacked; None where the user did not say."""
        return None if self.max_data is None else parse_bytes(self.max_data)

    def preprocessing(self) -> "Preprocessing":
        """What the options say about uint8 images.

        Raises:
            UsageError: mean, std and scale cannot work together.
        """
        from onnxshallow.data.preprocessing import Preprocessing

        return Preprocessing.from_preset(
            self.preset,
            mean=self.mean,
            std=self.std,
            scale=self.scale,
            layout=self.layout,
            resize=self.resize,
            crop=self.crop,
            channels=self.channels,
        )


def parse_target(value: float | str, total: int) -> int:
    """The budget that a target stands for.

    Args:
        value: a fraction of `total` up to 1, or a count above 1, as a number or text ("0.58", "320k",
            "1.2M").
        total: what the original network has.

    Returns:
        The most that may stay; fractions are rounded down.

    Raises:
        UsageError: the value is not positive, or neither a fraction nor a whole count.
    """
    try:
        target = _read_target(value)
    except ValueError as error:
        raise UsageError(f"The target {value!r} cannot be used: {error}.") from error
    return math.floor(target * total) if isinstance(target, Fraction) else target


def parse_latency(value: float | str, original: float) -> float:
    """The milliseconds that a target stands for.

    Args:
        value: a fraction of `original` up to 1, or milliseconds as text ("3.5ms").
        original: milliseconds of the original network.

    Raises:
        UsageError: the value is neither.
    """
    try:
        target, absolute = _read_latency(value)
    except ValueError as error:
        raise UsageError(f"The target {value!r} cannot be used: {error}.") from error
    return target if absolute else target * original


def parse_bytes(text: str) -> int:
    """The number of bytes in a size such as "4G", "512M" or "1.5 GiB"; suffixes are powers of 1024.

    Raises:
        UsageError: the text is no positive size.
    """
    try:
        return _read_bytes(text)
    except ValueError as error:
        raise UsageError(f"The size {text!r} cannot be used: {error}.") from error


def load_config(path: Path) -> dict[str, Any]:
    """Reads and checks a config file.

    Returns:
        The options that it sets, by their Python names; relative paths are resolved against the file's
        folder.

    Raises:
        UsageError: the file cannot be read, has an unknown option or an invalid value, or names code to run.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a config file ({error}).") from error
    values = _by_field_name(table, f"{path}: ")
    _build(values, f"{path}: ")
    for name in {"calib", "validate_data"} & values.keys():
        values[name] = _resolve_source(values[name], path)
    return values


def resolve(cli: Mapping[str, object], model_path: Path, config_path: Path | None = None) -> Config:
    """The options of a run: the defaults, then the config file's, then those given.

    A file that was not named, but found beside the model, cannot change the limits for untrusted files. A preset that
    is given counts for more than what the file says of the same things.

    Args:
        cli: given options by any of their names; None counts as not given.
        model_path: the model, beside which `onnxshallow.toml` is looked for.
        config_path: a config file to read instead, which must exist.

    Raises:
        UsageError: an option is unknown or invalid, or the config file cannot be used.
    """
    given = _by_field_name({name: value for name, value in cli.items() if value is not None}, "--")
    path = config_path if config_path is not None else model_path.parent / CONFIG_NAME
    values: dict[str, Any] = {}
    if config_path is not None or path.is_file():
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
    options = {field.alias or name: name for name, field in Config.model_fields.items()}
    renamed = {}
    for key, value in values.items():
        option = key.replace("_", "-")
        name = key if key in Config.model_fields else options.get(option)
        if name is None:
            nearest = difflib.get_close_matches(option, options, n=1, cutoff=0)
            raise UsageError(f"{prefix}{key} is not an option; the nearest is {nearest[0]!r}.")
        renamed[name] = value
    return renamed


def _build(values: Mapping[str, Any], prefix: str) -> Config:
    """Validates options; the first problem becomes a sentence."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0])
        option = Config.model_fields[option].alias or option if option in Config.model_fields else option
        problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        shown = json.dumps(first["input"], default=str)
        raise UsageError(f"{prefix}{option} cannot be {shown}: {problem[0].lower()}{problem[1:]}.") from error


def _resolve_source(source: str, path: Path) -> str:
    from onnxshallow.data.readers import names_code

    if names_code(source):
        raise UsageError(
            f"{path}: {source!r} would run code, which a config file may not ask for; name it on the command line."
        )
    return str(path.parent / source)


def _read_target(value: object) -> Fraction | int:
    """A fraction, or a whole count; ValueError says what is wrong."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("it must be a fraction up to 1 or a count, such as 0.58 or 320k")
    hint = "it must be a positive number, such as 0.58 or 320k"
    number, suffix = _read_number(str(value), COUNT_SUFFIXES, hint)
    if number <= 1 and not suffix:
        return number
    if number.denominator != 1:
        raise ValueError("it is neither a fraction up to 1 nor a whole count")
    return int(number)


def _read_latency(value: object) -> tuple[float, bool]:
    """A number, and whether it is milliseconds; ValueError says what is wrong."""
    hint = "it must be a fraction up to 1 or a time such as 3.5ms"
    text = str(value).strip().lower()
    number, _ = _read_number(text.removesuffix("ms"), {"": 1}, hint)
    if isinstance(value, bool) or (number > 1 and not text.endswith("ms")):
        raise ValueError(hint)
    return float(number), text.endswith("ms")


def _read_bytes(text: str) -> int:
    plain = re.sub(r"(?<=[kmgt])i?b$", "", text.strip().lower())
    number, _ = _read_number(plain, BYTE_SUFFIXES, "write it like 4G or 512M")
    return int(number)


def _read_number(text: str, suffixes: Mapping[str, int], hint: str) -> tuple[Fraction, str]:
    """A positive number, multiplied by its suffix, and the suffix; exact, so that 0.29 of 100 is 29."""
    match = re.fullmatch(rf"{NUMBER}\s*(?P<suffix>[a-z]?)", text.strip().lower())
    if match is None or match["suffix"] not in suffixes or Fraction(match["number"]) == 0:
        raise ValueError(hint)
    return Fraction(match["number"]) * suffixes[match["suffix"]], match["suffix"]
