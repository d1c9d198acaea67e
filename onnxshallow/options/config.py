"""All options in one schema, for the command line, the API and `onnxshallow.toml`.

A run's options are the defaults, overridden by the config file, overridden by what was given on the command
line. Names are snake_case in Python and kebab-case in the file and on the command line. numpy is imported
late, so that `--help` stays fast.
"""

import difflib
import json
import logging
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from onnxshallow.errors import UsageError
from onnxshallow.options.quantities import (
    parse_bytes,
    read_bytes,
    read_latency,
    read_target,
)

if TYPE_CHECKING:
    from onnxshallow.data.preprocessing import Preprocessing

__all__ = [
    "CONFIG_NAME",
    "Config",
    "describe_data",
    "load_config",
    "resolve",
]

logger = logging.getLogger(__name__)

CONFIG_NAME = "onnxshallow.toml"
"""The config file that is read when it lies beside the model."""

_LIMITS = frozenset({"max_tensor", "max_data"})


def _listed(value: object) -> object:
    """Lets "0.4, 0.5, 0.6", "cuda, cpu" and a single number stand for a tuple."""
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


def _data(value: object) -> object:
    """Lets paths stand for their text; anything else that is no number may hold samples."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bool | int | float | bytes):
        raise ValueError("it must be a path, or in Python arrays or what gives batches of them")
    return value


def describe_data(source: object) -> str | None:
    """A source of samples in words: its text, or the type of what holds them, such as `<ndarray>`."""
    return source if source is None or isinstance(source, str) else f"<{type(source).__name__}>"


Target = float | str | None
Data = Annotated[Any, BeforeValidator(_data), PlainSerializer(describe_data)]
Numbers = Annotated[tuple[float, ...] | None, BeforeValidator(_listed)]
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
        granularity: what of an activation may be taken away: the whole `layer`, or also all but some of its channels
            (`channel`) or of its elements (`pixel`).
        polynomials: whether activations may also become squares, which secure computation has more cheaply.
        mask_form: how an activation that stays in part is written: `split` into two sets of channels, or `prelu`, one
            node with a slope an element; None for `split` for channels and `prelu` for pixels.
        calib: where calibration samples come from: `.npz`, folder or `file.py:function`, or in Python whatever
            `onnxshallow.data.objects` reads; None for synthetic ones.
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
        providers: onnxruntime's execution providers, such as "cuda"; None for the CPU.
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
    granularity: Literal["layer", "channel", "pixel"] = "layer"
    polynomials: bool = False
    mask_form: Literal["split", "prelu"] | None = None
    calib: Data = None
    calib_samples: Size = 1024
    validate_data: Data = Field(None, alias="validate")
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
    providers: Annotated[tuple[str, ...] | None, BeforeValidator(_listed)] = None

    @field_validator("target_relus", "target_macs", "target_depth", mode="before")
    @classmethod
    def _check_target(cls, value: object) -> object:
        if value is not None:
            read_target(value)
        return value

    @field_validator("target_latency", mode="before")
    @classmethod
    def _check_latency(cls, value: object) -> object:
        if value is not None:
            read_latency(value)
        return value

    @field_validator("memory", "max_tensor", "max_data")
    @classmethod
    def _check_bytes(cls, value: str | None) -> str | None:
        if value is not None:
            read_bytes(value)
        return value

    @field_validator("mask_form")
    @classmethod
    def _check_form(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "split" and info.data.get("granularity") == "pixel":
            raise ValueError(
                "pixel masks have only the prelu form; leave it out, or take granularity channel, whose masks can be "
                "split"
            )
        return value

    @property
    def in_part(self) -> bool:
        """Whether activations may stay in part or become squares, and not only go layer by layer."""
        return self.granularity != "layer" or self.polynomials

    @property
    def tensor_limit(self) -> int:
        """The most bytes that a tensor of a model may take for one sample."""
        from onnxshallow.model.guard.limits import MAX_TENSOR

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
        raise UsageError(
            f"{path}: cannot be read as a config file ({error}); correct it, or name another with --config."
        ) from error
    values = _by_field_name(table, f"{path}: ")
    _build(values, f"{path}: ")
    for name in sorted({"calib", "validate_data"} & values.keys()):
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


def _resolve_source(source: object, path: Path) -> str:
    from onnxshallow.data.readers import names_code

    if not isinstance(source, str):
        raise UsageError(f"{path}: data cannot be {json.dumps(source, default=str)}: it should be a path in quotes.")
    if names_code(source):
        raise UsageError(
            f"{path}: {source!r} would run code, which a config file may not ask for; name it on the command line."
        )
    return str(path.parent / source)
