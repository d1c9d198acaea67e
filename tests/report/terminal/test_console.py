import pytest

from onnxshallow.report.terminal.console import PLAIN_WIDTH, console, is_quiet, keeping_quiet


def test_quiet_holds_in_its_block(capsys):
    with keeping_quiet():
        console().print("nothing")
        with keeping_quiet(False):
            assert is_quiet()
    assert not is_quiet()
    assert capsys.readouterr().out == ""


def test_what_is_no_terminal_gets_wide_and_plain_text(capsys):
    made = console()
    made.print("[red]a", style="red")
    assert (made.width, capsys.readouterr().out) == (PLAIN_WIDTH, "[red]a\n")


@pytest.mark.parametrize(("variable", "coloured"), [(None, True), ("NO_COLOR", False)])
def test_colours_are_for_terminals_that_want_them(monkeypatch, capsys, variable, coloured):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "1")
    console().print("a", style="red")
    assert ("\x1b[31m" in capsys.readouterr().out) is coloured
