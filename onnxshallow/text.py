"""Text from files that nobody vouches for, made safe to print."""

__all__ = ["first_line", "printable"]


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
