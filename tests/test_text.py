import pytest

from onnxshallow.text import html_table, printable


@pytest.mark.parametrize(
    "text", ["", "conv1/Relu:0", "größe 网络 ñ", "[red]x[/red] <b>&amp;</b>", "a \"b\" 'c' \\x1b"]
)
def test_text_without_control_characters_stays(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\tc\0", r"a\nb\r\tc\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028", r"\u2028"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_a_terminal_acts_on_is_spelt_out(text, shown):
    assert printable(text) == shown


def test_cells_of_a_table_are_text():
    shown = html_table("a <b>", ["", "x&y"], [["r\x1b", "<script>"]])
    assert "<caption>a &lt;b&gt;</caption>" in shown
    assert '<th scope="col">x&amp;y</th>' in shown
    assert "<td>&lt;script&gt;</td>" in shown
    assert "\x1b" not in shown
