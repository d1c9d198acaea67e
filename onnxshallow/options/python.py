"""Errors in the words of their readers: messages are written for the command line, and read in Python as well."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from typing import Any

from onnxshallow.errors import OnnxshallowError

__all__ = ["in_python", "speaking_python"]

# Code, which stays; or a flag with the number that may follow it.
_FLAG = re.compile(r"`[^`]*`|(?<![\w-])--(?P<word>[a-z][\w-]*)(?: (?P<value>\d[\w.,:/%+-]*))?")
_QUOTED = re.compile(r"'(?P<word>[a-z]+(?:-[a-z]+)+)'")
# Flags whose argument in Python has another name.
_NAMES = {"data": "validation", "budget": "finetune", "steps": "finetune", "epochs": "finetune"}
_UNITS = ("steps", "epochs")


def in_python(text: str) -> str:
    """A message with arguments in the place of flags: `target_relus=0.58` for `--target-relus 0.58`.

    What stands between backticks is a command, and stays one.
    """
    return _QUOTED.sub(_argument_name, _FLAG.sub(_argument, text))


def _argument(found: re.Match[str]) -> str:
    word, value = found["word"], found["value"]
    if word is None:
        return found[0]
    if word.startswith("no-"):
        return f"{word.removeprefix('no-').replace('-', '_')}=False"
    name = _NAMES.get(word, word.replace("-", "_"))
    if value is None:
        return name
    number = value.rstrip(".,:")
    end = value[len(number) :]
    if word in _UNITS:
        number += word
    try:
        float(number)
    except ValueError:
        number = f'"{number}"'
    return f"{name}={number}{end}"


def _argument_name(found: re.Match[str]) -> str:
    """A name in quotes, where it is that of an option."""
    from onnxshallow.options.schema import OPTIONS

    word = found["word"]
    return f"'{word.replace('-', '_')}'" if word in {option.word for option in OPTIONS} else found[0]


@cache
def speaking_python(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose errors, and those that its results hold, name arguments and not flags."""

    @wraps(function)
    def speaking(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except OnnxshallowError as error:
            error.args = tuple(in_python(part) if isinstance(part, str) else part for part in error.args)
            raise
        held = getattr(result, "error", None)
        if not isinstance(held, OnnxshallowError):
            return result
        return replace(result, error=type(held)(in_python(str(held))))

    return speaking
