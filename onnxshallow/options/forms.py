"""The forms in which options can be given, in Python, on the command line and in a file."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, TypeAdapter
from pydantic_core import core_schema

from onnxshallow.options.quantities import (
    read_bytes,
    read_latency,
    read_length,
    read_size,
    read_target,
    read_time,
)

__all__ = [
    "CODE",
    "Bytes",
    "Data",
    "FileSize",
    "Kept",
    "Kind",
    "Kinds",
    "Latency",
    "Long",
    "Names",
    "Numbers",
    "Reads",
    "Resize",
    "Shapes",
    "Size",
    "Target",
    "Time",
    "describe_data",
    "file_of",
    "names_code",
    "text_of",
]

CODE = re.compile(r"(?P<file>.+\.py):(?P<function>[^\W\d]\w*)")
"""A source that is made by a function of the user's own."""


Kind = Literal["classes", "scores", "boxes", "embedding", "regression", "mask"]
"""What an output may mean."""


@dataclass(frozen=True)
class Reads:
    """Lets a field be given in further forms than that of its own type.

    Attributes:
        read: makes the value of what was given; raises ValueError where that cannot be.
        accepts: the type of all that can be given, in Python.
        in_file: likewise, in a file, where that differs.
    """

    read: Callable[[Any], Any]
    accepts: Any
    in_file: Any = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Reads before all else."""
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> dict[str, Any]:
        """What can be given, in place of what it becomes."""
        return TypeAdapter(self.in_file or self.accepts).json_schema()


def names_code(source: str) -> bool:
    """Whether a source has the form `file.py:function`, and so runs code when loaded."""
    return CODE.fullmatch(source) is not None


def file_of(source: str) -> Path:
    """The file or the folder that a source names, or whose code it would run."""
    match = CODE.fullmatch(source)
    return Path(source if match is None else match["file"])


def describe_data(source: object) -> str | None:
    """A source of samples in words: its text, or the type of what holds them, such as `<ndarray>`."""
    return source if source is None or isinstance(source, str) else f"<{type(source).__name__}>"


def text_of(value: object) -> object:
    """Lets an integer stand for its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _listed(value: object) -> object:
    """Lets "0.4, 0.5, 0.6", "cuda, cpu" and a single number stand for a tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return (value,) if isinstance(value, int | float) else value


def _resize(value: object) -> object:
    """Lets "256" and "48x192" stand for numbers."""
    if not isinstance(value, str | list | tuple):
        return value
    sides = re.fullmatch(r"(\d+)(?:x(\d+))?", value) if isinstance(value, str) else None
    given = value if sides is None else [side for side in sides.groups() if side]
    if isinstance(given, str) or len(given) > 2 or not given:
        raise ValueError("it is given as 256, for the shorter side, or as 48x192, for height and width")
    return given[0] if len(given) == 1 else given


def _shapes(value: object) -> object:
    """Lets "NAME:1,3,224,224", or a list of such, stand for a mapping of names to shapes."""
    named = _by_name(value, ":", "a shape is given as NAME:1,3,224,224")
    if value is named or not isinstance(named, Mapping):
        return value
    return {name: sizes.split(",") for name, sizes in named.items()}


def _kinds(value: object) -> object:
    """Lets "NAME=classes", or a list of such, stand for a mapping of names to kinds."""
    return _by_name(value, "=", "what an output means is given as NAME=classes")


def _by_name(value: object, separator: str, form: str) -> object:
    """A mapping of names to what stands after the last separator; a mapping, and None, as they are."""
    if value is None or isinstance(value, Mapping):
        return value
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and separator in item for item in items):
        raise ValueError(form)
    named = dict(item.rsplit(separator, 1) for item in items)
    if len(named) < len(items):
        raise ValueError("it says two things of one name; leave one out")
    return named


def _data(value: object) -> object:
    """Lets paths stand for their text; anything else that is no number may hold samples."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and not value.strip():
        raise ValueError("it must be a path, and this one is empty; give one, or leave it out")
    if isinstance(value, bool | int | float | bytes):
        raise ValueError("it must be a path, or in Python arrays or what gives batches of them")
    return value


def _checked(read: Callable[[Any], object]) -> Callable[[Any], Any]:
    """Leaves a value as it is that `read` can read."""

    def check(value: Any) -> Any:
        if value is not None:
            read(value)
        return value

    return check


Size = Annotated[int, Field(gt=0)]
_Positive = Annotated[float, Field(gt=0)]
_NotNegative = Annotated[float, Field(ge=0)]

Target = Annotated[float | str | None, Reads(_checked(read_target), _Positive | str)]
Kept = Annotated[float | str | None, Reads(_checked(partial(read_target, zero=True)), _NotNegative | str)]
FileSize = Annotated[float | str | None, Reads(_checked(read_size), _Positive | str)]
Latency = Annotated[float | str | None, Reads(_checked(read_latency), _Positive | str)]
Long = Annotated[str | None, Reads(_checked(read_length), str)]
Time = Annotated[str | None, Reads(_checked(read_time), str)]
Bytes = Annotated[str | None, Reads(text_of, Size | str), AfterValidator(_checked(read_bytes))]
Numbers = Annotated[tuple[float, ...] | None, Reads(_listed, float | str | Sequence[float])]
Names = Annotated[tuple[str, ...] | None, Reads(_listed, str | Sequence[str])]
Resize = Annotated[Size | tuple[Size, Size] | None, Reads(_resize, Size | str | Sequence[Size])]
Shapes = Annotated[
    dict[str, tuple[Size, ...]] | None, Reads(_shapes, Mapping[str, Sequence[Size]] | str | Sequence[str])
]
Kinds = Annotated[
    dict[str, Kind] | None,
    Reads(_kinds, Mapping[str, str] | str | Sequence[str], in_file=Mapping[str, Kind] | str | Sequence[str]),
]
Data = Annotated[Any, Reads(_data, object, in_file=str), PlainSerializer(describe_data)]
