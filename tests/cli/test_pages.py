import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from onnxshallow.cli.options import Card, Html
from onnxshallow.cli.pages import WithPages
from tests.runs import run


@pytest.fixture(scope="module")
def app():
    made = typer.Typer()

    @made.command(cls=WithPages)
    def command(model: str, html: Html = None, card: Card = None, other: str = "none") -> None:
        typer.echo(f"{model} {html!r} {other}" + (f" {card!r}" if card is not None else ""))

    return made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m.onnx"], "m.onnx None none"),
        (["m.onnx", "--html"], "m.onnx '' none"),
        (["--html", "m.onnx"], "m.onnx '' none"),
        (["--html", "page.html", "m.onnx"], "m.onnx 'page.html' none"),
        (["m.onnx", "--html", "PAGE.HTM"], "m.onnx 'PAGE.HTM' none"),
        (["m.onnx", "--html=odd"], "m.onnx 'odd' none"),
        (["m.onnx", "--html", "--other", "a"], "m.onnx '' a"),
        (["--html", "--", "--html"], "--html '' none"),
        (["--", "m.onnx"], "m.onnx None none"),
        (["--card", "m.onnx", "--html"], "m.onnx '' none ''"),
        (["--card", "card.md", "m.onnx"], "m.onnx None none 'card.md'"),
    ],
)
def test_a_page_is_named_or_not(app, arguments, said):
    assert CliRunner().invoke(app, arguments).stdout.strip() == said


@pytest.mark.parametrize("command", ["optimize", "apply"])
def test_nothing_at_all_is_a_usage_error(command):
    outcome = run(command)
    assert outcome.exit_code == 2
    assert "Missing argument 'MODEL'" in outcome.stderr


@pytest.mark.parametrize("command", ["optimize", "apply"])
def test_options_complete_in_the_shell(command, monkeypatch):
    monkeypatch.setenv("_ONNXSHALLOW_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"onnxshallow {command} --")
    monkeypatch.setenv("COMP_CWORD", "2")
    done = subprocess.run([sys.executable, "-m", "onnxshallow"], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
