"""Text from files that nobody vouches for, made safe to print."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["first_line", "html_table", "in_time", "printable"]


def printable(text: str) -> str:
    r"""`text` on one line, with everything that a terminal could act on written as an escape such as `\x1b`.

    That goes for control characters, line ends, characters that turn the direction of writing, and broken ones.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, printable and without a full stop; its type where it says nothing."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0].rstrip("."))


def in_time(seconds: float) -> str:
    """A time as people say it: `4 s`, `50 s`, `12 min`, `1 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def html_table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for a notebook: its cells are text, the first of a row names it."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in headers)
    body = "".join(
        f'<tr><th scope="row">{escape(printable(first))}</th>'
        + "".join(f"<td>{escape(printable(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    title = f"<caption>{escape(printable(caption))}</caption>"
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
