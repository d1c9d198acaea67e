"""Text from files that nobody vouches for, made safe to print."""

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""`text` on one line, with everything that a terminal could act on written as an escape such as `\x1b`.

    That goes for control characters, line ends, characters that turn the direction of writing, and broken ones.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
