import pytest

from onnxshallow.report.markdown.text import code, plain, table


def test_nothing_in_a_text_has_a_meaning():
    assert plain("a_b*c [x](y) <b>|`") == r"a\_b\*c \[x\](y) \<b\>\|\`"
    assert "\n" not in plain("two\nlines")
    assert "\x1b" not in plain("\x1b[31m")


@pytest.mark.parametrize(("text", "shown"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("a|b", r"`a\|b`")])
def test_code_holds_whatever_it_should(text, shown):
    assert code(text) == shown


def test_a_table_has_text_to_the_left_and_numbers_to_the_right():
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert table(["a", "b"], [], left=2).endswith("| --- | --- |")
