"""Write docs/reference/cli.md: every command with its options, as the program itself knows them.

    python tools/cli_reference.py

A test compares the page with what this makes: whoever adds or changes an option runs it again.
"""

import inspect
from pathlib import Path
from typing import Any

import typer.main

from onnxshallow.cli.help import examples_of, groups_of
from onnxshallow.cli.main import app
from onnxshallow.model.files import write_text

__all__ = ["PAGE", "main", "page"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"

_BEGINNING = """# Command line

<!-- Written by tools/cli_reference.py; change the help of the options instead. -->

`onnxshallow COMMAND --help` shows the same as this page. `--install-completion` lets your shell complete commands,
options and their values. Results go to stdout; progress, warnings and errors go to stderr. Colours and progress bars
are for terminals only, and `NO_COLOR` is honoured. [Options and data](options.md) says what options mean together.
"""


def page() -> str:
    """The whole page as Markdown."""
    group = typer.main.get_command(app)
    commands: dict[str, Any] = group.commands  # type: ignore[attr-defined]
    return "\n".join([_BEGINNING, *(_section(name, command) for name, command in commands.items())])


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    lines = [f"## {name}", ""]
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        if not paragraph.startswith("Example"):
            lines += [" ".join(paragraph.split()), ""]
    lines += [f"- `{example}`" for example in examples_of(command)]
    for title, parameters in groups_of(command, context).items():
        lines += ["", f"| {title.lower()} | |", "|---|---|"]
        for parameter in parameters:
            lines.append(f"| `{_cell(_term(parameter))}` | {_cell(parameter.help)}{_default(parameter)} |")
    return "\n".join(lines) + "\n"


def _term(parameter: Any) -> str:
    """How it is written, such as `-o, --output PATH`; not left to typer, whose versions differ."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {parameter.metavar or 'N'}"


def _default(parameter: Any) -> str:
    stated = parameter.param_type_name == "option" and not parameter.is_flag and parameter.default is not None
    return f" [default: {parameter.default}]" if stated else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the page."""
    write_text(page(), PAGE)


if __name__ == "__main__":
    main()
