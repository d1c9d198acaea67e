from rich.console import Console

from onnxshallow.report.terminal.tables import make_table, show_table

NAMES = ("model", "median ms", "95 % interval", "samples/s", "peak MB")
CELLS = ("/a/model.onnx", "0.033", "0.033 to 0.034", "27 119", "10.5")


def shown(capsys, width):
    console = Console(width=width, markup=False, highlight=False)
    table = make_table(console, *NAMES)
    table.add_row(*CELLS)
    show_table(console, table)
    return capsys.readouterr().out


def test_numbers_that_fit_stand_side_by_side(capsys):
    (line,) = [line for line in shown(capsys, 120).splitlines() if "0.033 to" in line]
    assert all(cell in line for cell in CELLS)


def test_numbers_that_do_not_fit_stand_below_each_other(capsys):
    console = Console(width=76, markup=False, highlight=False)
    table = make_table(console, *NAMES, *NAMES)
    table.add_row(*CELLS, *CELLS)
    show_table(console, table)
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines if "interval" in line] == ["95 % interval: 0.033 to 0.034"] * 2
    assert sum(CELLS[0] in line for line in lines) == 2
