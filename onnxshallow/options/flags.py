"""How an option looks: what `--help` and the reference say of it, beside its type and its default."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

__all__ = [
    "CHANGES",
    "DATA",
    "EFFORT",
    "FITTING",
    "GATES",
    "GOAL",
    "MACHINE",
    "PIXELS",
    "PRIVATE",
    "RESULT",
    "TRAINING",
    "WORKERS",
    "Flag",
    "Group",
    "Option",
]


@dataclass(frozen=True, eq=False)
class Group:
    """Options that belong together; groups of one title stand under one heading.

    Attributes:
        title: the heading in `--help`.
    """

    title: str


GOAL = Group("Goal")
PRIVATE = Group("Goal: the price of private inference, estimated")
CHANGES = Group("Goal")
GATES = Group("Gates: what must hold, else exit code 4")
DATA = Group("Calibration and validation data")
PIXELS = Group("Preprocessing of uint8 images")
EFFORT = Group("How to work")
FITTING = Group("How to work")
TRAINING = Group("Training, which needs torch")
MACHINE = Group("How to work")
WORKERS = Group("How to work")
RESULT = Group("Result")


@dataclass(frozen=True)
class Flag:
    """What an option is for. Its type, range and default are those of the field that this annotates.

    Attributes:
        text: what it does, in a few words.
        group: the options that it stands among; None for those that are in no group.
        metavar: what stands for its value; None for the values that it can take, or N for a whole number.
        default: what its absence means, where the field's default is None.
        values: what a shell completes, where it can take other values too.
        negative: what the flag does that turns it off, where it is on unless that is given.
        also: further names of the flag; what an option of `Config` has here, files and Python know as well.
    """

    text: str
    group: Group | None = None
    metavar: str | None = None
    default: str | None = None
    values: tuple[str, ...] = ()
    negative: str | None = None
    also: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Describes the option in a JSON Schema."""
        return {**handler(schema), "description": self.text}


@dataclass(frozen=True)
class Option:
    """An option as people see it.

    Attributes:
        name: in Python.
        word: in the options file, and after the two hyphens of the command line.
        kind: bool, int, float or dict; str for all else, which is given as text.
        choices: all values that it can take, where they are few.
        default: None where its absence is no value.
        flag: what is said of it.
    """

    name: str
    word: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    flag: Flag

    @classmethod
    def from_field(cls, name: str, field: FieldInfo) -> "Option":
        """What a field that a `Flag` annotates says."""
        flag = next(part for part in field.metadata if isinstance(part, Flag))
        types = [part for part in get_args(field.annotation) if part is not type(None)]
        plain: Any = types[0] if len(types) == 1 else field.annotation  # without `| None`
        choices = get_args(plain) if get_origin(plain) is Literal else ()
        kind = getattr(plain, "__origin__", plain)
        kind = kind if kind in (bool, int, float, dict) else str
        return cls(name, field.alias or name, kind, choices, field.default, flag)

    @property
    def words(self) -> tuple[str, ...]:
        """Its names in the options file: `word`, and what it is called besides."""
        return (self.word, *(name.removeprefix("--") for name in self.flag.also))

    @property
    def metavar(self) -> str:
        """What stands for its value."""
        return self.flag.metavar or "|".join(self.choices) or "N"

    @property
    def absent(self) -> str | None:
        """What its absence means; None where that needs no words."""
        if self.default is None or self.kind is bool:
            return self.flag.default
        return f"{self.default:g}" if self.kind is float else str(self.default)

    @property
    def help(self) -> str:
        """What it does on the command line, and what its absence means."""
        text = self.flag.negative or self.flag.text
        return text if self.absent is None else f"{text.removesuffix('.')} [default: {self.absent}]."
