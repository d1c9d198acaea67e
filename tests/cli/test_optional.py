import pytest
import typer
from typer.testing import CliRunner

from onnxshallow.cli.optional import WithHtml
from onnxshallow.cli.options import Html


@pytest.fixture(scope="module")
def app():
    made = typer.Typer()

    @made.command(cls=WithHtml)
    def command(model: str, html: Html = None, other: str = "none") -> None:
        typer.echo(f"{model} {html!r} {other}")

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
    ],
)
def test_a_page_is_named_or_not(app, arguments, said):
    assert CliRunner().invoke(app, arguments).stdout.strip() == said
