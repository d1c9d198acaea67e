"""What Markdown is made of, from text that nobody vouches for: names of files and of nodes."""

import re
from collections.abc import Iterable, Sequence

from onnxshallow.text import printable

__all__ = ["code", "plain", "table"]

# Whatever Markdown, or the HTML that may stand in it, gives a meaning within a line.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")


def plain(text: str) -> str:
    """Text that means nothing but itself, on one line."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def code(text: str) -> str:
    """Text as code, which holds backticks as well, and may stand in a table."""
    shown = printable(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table of cells that are Markdown; the first `left` columns to the left, numbers to the right."""
    rule = ["---"] * left + ["---:"] * (len(headers) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headers, rule, *rows))
