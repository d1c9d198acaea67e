"""`--html` and `--card` alone, or with a path."""

from typing import Any

from onnxshallow.cli.help import Command

__all__ = ["BESIDE", "WithPages"]

BESIDE = ""
"""What such an option without a path stands for: beside the model that is written."""

_SUFFIXES = {"--html": (".html", ".htm"), "--card": (".md", ".markdown")}


class WithPages(Command):
    """A command whose `--html` and `--card` take the argument after them only where that names a page of their kind.

    An option with an optional value would take whatever follows, such as the model.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give lone options their value, then parse as ever."""
        end = args.index("--") if "--" in args else len(args)
        following = [*args[1:end], ""][:end]
        filled = [
            f"{word}={BESIDE}" if word in _SUFFIXES and not after.lower().endswith(_SUFFIXES[word]) else word
            for word, after in zip(args[:end], following, strict=True)
        ]
        return super().parse_args(ctx, [*filled, *args[end:]])
