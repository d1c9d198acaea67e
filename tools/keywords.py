"""Write the keyword arguments of the Python functions into onnxshallow/options/keywords.py.

    python -m tools.keywords

Type checkers and editors read what is written, so `Options` cannot be made while the program runs. A test compares it
with what this makes: whoever adds or changes an option runs it again.
"""

import json
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from onnxshallow.model.files import write_text
from onnxshallow.options import keywords as written
from onnxshallow.options import schema
from onnxshallow.options.forms import Reads

__all__ = ["MODULE", "keywords", "main", "module"]

MODULE = Path(written.__file__)

_BEGINNING = '''# What follows is written by tools/keywords.py.


class Options(TypedDict, total=False):
    """The options as keyword arguments; None is as good as not given."""
'''


def keywords() -> dict[str, str]:
    """The type of what an option takes, by every name that it has in Python."""
    found = {}
    for name, field in schema.Config.model_fields.items():
        reads = next((part for part in field.metadata if isinstance(part, Reads)), None)
        accepted = _source(field.annotation if reads is None else reads.accepts)
        words = schema.Option.from_field(name, field).words
        for word in dict.fromkeys([name, *(each.replace("-", "_") for each in words)]):
            found[word] = accepted if accepted == "object" else f"{accepted} | None"
    return found


def _source(annotation: Any) -> str:
    """A type as it is written, without its range and without None."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is None:
        return str(annotation.__name__)
    if origin is Annotated:
        return _source(parts[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(json.dumps, parts))}]"
    if isinstance(origin, type) and origin.__module__ == "collections.abc":
        return f"{origin.__name__}[{', '.join(map(_source, parts))}]"
    return " | ".join(dict.fromkeys(_source(part) for part in parts if part is not NoneType))


def module() -> str:
    """The whole module, with the keyword arguments of today."""
    before, _, _ = MODULE.read_text(encoding="utf-8").partition(_BEGINNING)
    return before + _BEGINNING + "\n" + "".join(f"    {name}: {kind}\n" for name, kind in keywords().items())


def main() -> None:
    """Write the module."""
    write_text(module(), MODULE)


if __name__ == "__main__":
    main()
