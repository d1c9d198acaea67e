"""The page about the command line says what the program says."""

import importlib

import pytest
import typer.main

from onnxshallow.cli.main import app
from tests.tools.conftest import TOOLS


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield importlib.import_module("cli_reference")


def test_the_page_is_up_to_date(tool):
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), "run: python tools/cli_reference.py"


def test_the_table_of_options_is_up_to_date(tool):
    assert tool.OPTIONS_PAGE.read_text(encoding="utf-8") == tool.options_page(), "run: python tools/cli_reference.py"


def test_the_table_takes_the_place_of_an_older_one_and_of_nothing_else(tool, tmp_path, monkeypatch):
    page = tool.options_page()
    stale = tmp_path / "options.md"
    stale.write_text(page.replace("| `seed` | `N` | 0 |", "| `sead` | `N` | 1 |"), encoding="utf-8")
    monkeypatch.setattr(tool, "OPTIONS_PAGE", stale)
    assert "sead" in stale.read_text(encoding="utf-8")
    assert tool.options_page() == page
    assert page.startswith("# Options and data")
    assert "## Cache" in page


def test_the_page_has_every_option_of_every_command(tool):
    sections = dict(part.split("\n", 1) for part in tool.page().split("\n## ")[1:])
    commands = typer.main.get_command(app).commands
    assert list(sections) == list(commands)
    for name, command in commands.items():
        for parameter in command.params:
            shown = (
                parameter.opts[-1]
                if parameter.param_type_name == "option"
                else parameter.metavar or parameter.name.upper()
            )
            assert shown in sections[name]
