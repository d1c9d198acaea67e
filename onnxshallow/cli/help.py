"""Help pages: options in groups, and examples whose lines stay as they are written.

Plain text, so that `--help` needs no rich, can be piped, and comes at once.
"""

import inspect
from typing import Any

import typer.core

__all__ = ["Command", "examples_of", "groups_of"]

_REST = "Options"


class Command(typer.core.TyperCommand):
    """A command whose help keeps the lines of paragraphs that begin with `Example`, and groups options by panel."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, and its examples."""
        for paragraph in _paragraphs(self.help):
            formatter.write_paragraph()
            if paragraph.startswith("Example"):
                for line in paragraph.splitlines():
                    formatter.write(f"  {line}\n")
            else:
                with formatter.indentation():
                    formatter.write_text(paragraph)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, each group under its name."""
        for name, parameters in groups_of(self, ctx).items():
            with formatter.section(name):
                formatter.write_dl([record for p in parameters if (record := p.get_help_record(ctx)) is not None])


def _paragraphs(text: str | None) -> list[str]:
    return [paragraph for paragraph in inspect.cleandoc(text or "").split("\n\n") if paragraph.strip()]


def examples_of(command: Any) -> list[str]:
    """The command lines of a command's examples, each on one line."""
    lines = [line for p in _paragraphs(command.help) if p.startswith("Example") for line in p.splitlines()]
    whole = "\n".join(lines).replace("\\\n", " ").removeprefix("Example: ")
    return [" ".join(line.split()) for line in whole.splitlines() if line.strip().startswith("onnxshallow ")]


def groups_of(command: Any, ctx: Any) -> dict[str, list[Any]]:
    """A command's parameters that have help, by group, the arguments first and what is in no group last."""
    groups: dict[str, list[Any]] = {"Arguments": []}
    rest = []
    for parameter in command.get_params(ctx):
        if parameter.get_help_record(ctx) is None:
            continue
        panel = getattr(parameter, "rich_help_panel", None)
        if parameter.param_type_name == "argument":
            groups["Arguments"].append(parameter)
        elif panel is None:
            rest.append(parameter)
        else:
            groups.setdefault(panel, []).append(parameter)
    return {name: found for name, found in {**groups, _REST: rest}.items() if found}
