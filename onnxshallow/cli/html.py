"""`--html` alone, or with a path."""

from typing import Any

from onnxshallow.cli.help import Command

__all__ = ["BESIDE", "WithHtml"]

BESIDE = ""
"""What `--html` without a path stands for: beside the model that is written."""

_SUFFIXES = (".html", ".htm")


class WithHtml(Command):
    """A command whose `--html` takes the argument after it only where that names a page.

    An option with an optional value would take whatever follows, such as the model.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a lone `--html` its value, then parse as ever."""
        end = args.index("--") if "--" in args else len(args)
        following = [*args[1:end], ""][:end]
        lone = [
            a == "--html" and not b.lower().endswith(_SUFFIXES) for a, b in zip(args[:end], following, strict=True)
        ]
        filled = [f"--html={BESIDE}" if alone else a for a, alone in zip(args[:end], lone, strict=True)]
        return super().parse_args(ctx, [*filled, *args[end:]])
