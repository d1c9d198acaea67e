"""Write docs/reference/cli.md, every command with its options, and the table of options in docs/reference/options.md.

    python tools/cli_reference.py

A test compares the pages with what this makes: whoever adds or changes an option runs it again.
"""

import inspect
from pathlib import Path
from typing import Any

import typer.main

from onnxshallow.cli.help import examples_of, groups_of
from onnxshallow.cli.main import app
from onnxshallow.model.files import write_text
from onnxshallow.options.schema import OPTIONS

__all__ = ["OPTIONS_PAGE", "PAGE", "main", "options_page", "page"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
OPTIONS_PAGE = PAGE.with_name("options.md")

_TABLE = "<!-- This table is written by tools/cli_reference.py. -->\n\n"

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


def options_page() -> str:
    """The page about options as it is, with the table of today's options."""
    before, _, after = OPTIONS_PAGE.read_text(encoding="utf-8").partition(_TABLE)
    rest = after[after.index("\n\n") :]
    rows = ["| option | value | without it | what it does |", "|---|---|---|---|"]
    for option in OPTIONS:
        switch = option.kind is bool
        value = "true\\|false" if switch else _cell(option.metavar)
        absent = str(option.default).lower() if switch else option.absent or ""
        rows.append(f"| `{option.word}` | `{value}` | {absent} | {_cell(option.flag.text)} |")
    return before + _TABLE + "\n".join(rows) + rest


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name, **command.context_settings)
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
    """Write the pages."""
    write_text(page(), PAGE)
    write_text(options_page(), OPTIONS_PAGE)


if __name__ == "__main__":
    main()
