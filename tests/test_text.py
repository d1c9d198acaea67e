import pytest

from onnxshallow.text import html_table, in_time, printable


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


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (4, "4 s"),
        (99, "99 s"),
        (100, "2 min"),
        (750, "12 min"),
        (5960, "99 min"),
        (4800 + 3000, "2 h 10 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert in_time(seconds) == said
