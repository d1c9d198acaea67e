from types import SimpleNamespace

from rich.console import Console

from onnxshallow.report.terminal.tables import make_table, print_fidelity, print_kinds, show_table
from onnxshallow.validation.outputs import OutputDifference
from tests.report.schema.test_reports import FIDELITY, changed

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


def told(capsys, *outputs, **known):
    """What is said of a comparison with these outputs."""
    fidelity = changed(FIDELITY, agreement=known.pop("agreement", None), kl=0.1, outputs=outputs)
    console = Console(width=200, markup=False, highlight=False)
    print_fidelity(console, fidelity)
    print_kinds(console, SimpleNamespace(fidelity=fidelity, **{"labels_of": None, "unused_labels": False, **known}))
    return capsys.readouterr().out


def test_each_kind_of_output_is_told_by_what_it_means(capsys):
    text = told(
        capsys,
        OutputDifference("m", (), kind="mask", agreement=0.5),
        OutputDifference("e", (), kind="embedding", cosine=0.75),
    )
    assert "same class for 50.00 % of the pixels of 'm', cosine of 'e' 0.7500, relative error of 'y'" in text


def test_heads_are_told_one_by_one_where_there_are_several(capsys):
    heads = [OutputDifference(name, (), kind="classes", agreement=share) for name, share in (("a", 1.0), ("b", 0.5))]
    assert "same class for 50.00 %, KL 0.1000, at 'a' for 100.00 %, at 'b' for 50.00 %" in told(
        capsys, *heads, agreement=0.5
    )
    assert "at 'a'" not in told(capsys, heads[0], agreement=1.0)


def test_what_outputs_are_read_as_is_told_with_the_reason(capsys):
    output = OutputDifference("y", (), kind="boxes", reason="its name says so")
    assert "Read 'y' as boxes (its name says so).\n" in told(capsys, output)
    assert "Read" not in told(capsys, OutputDifference("y", ()))


def test_what_labels_belong_to_is_told(capsys):
    assert "The labels are those of 'age'." in told(capsys, labels_of="age")
    assert "The labels were not used: they fit no output." in told(capsys, unused_labels=True)
    assert "labels" not in told(capsys)
