import json

import pytest
import typer
from typer.testing import CliRunner

from onnxshallow.cli.main import app
from onnxshallow.cli.options import takes
from onnxshallow.cli.shell import command_line
from onnxshallow.errors import UsageError
from onnxshallow.options.flags import CHANGES, GATES, Flag
from tests.runs import run, save_case

PLACES = {
    "optimize": "onnxshallow.workflows.optimize.optimize",
    "pareto": "onnxshallow.workflows.pareto.pareto",
    "sensitivity": "onnxshallow.workflows.sensitivity.measure_sensitivity",
    "apply": "onnxshallow.workflows.apply.apply_plan",
}
MASKS = ("--granularity", "channel", "--polynomials")
EVERY = (*MASKS, "--mask-form", "prelu")


@pytest.fixture
def case(tmp_path):
    """The paths of a small network and of data for it."""
    return save_case(tmp_path)


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("optimize", ("--target-relus", "0.5", *EVERY), ("channel", True, "prelu")),
        ("optimize", ("--target-relus", "0.5"), ("auto", False, None)),
        ("pareto", EVERY, ("channel", True, "prelu")),
        ("sensitivity", MASKS, ("channel", True, None)),
        ("apply", ("plan.json", "--mask-form", "prelu"), ("auto", False, "prelu")),
    ],
)
def test_what_is_said_of_masks_arrives(case, monkeypatch, command, arguments, expected):
    seen = []

    def look(*_, config, **__):
        seen.append((config.granularity, config.polynomials, config.mask_form))
        raise UsageError("That is all.")

    monkeypatch.setattr(PLACES[command], look)
    model, data = case
    assert run(command, model, *arguments, "--calib", data).exit_code == 2
    assert seen == [expected]


def test_the_report_says_what_was_asked_for(case):
    model, data = case
    outcome = run(
        "optimize",
        model,
        "--calib",
        data,
        "--target-relus",
        "0.9",
        "--sensitivity",
        "magnitude",
        "--dry-run",
        "--json",
        "-",
        *EVERY,
    )
    assert outcome.exit_code == 0
    config = json.loads(outcome.stdout)["config"]
    assert (config["granularity"], config["polynomials"], config["mask-form"]) == ("channel", True, "prelu")


@pytest.fixture
def small():
    """A command that takes some options, and what it was given."""
    made, seen = typer.Typer(), {}

    @made.command()
    @command_line
    @takes(CHANGES, before="own")
    @takes(
        "validate_data",
        "correction",
        "seed",
        before="last",
        instead={"validate_data": Flag("Data.", also=("--data",))},
    )
    def command(model: str, own: bool = False, last: bool = False, **given):
        seen.update(given)

    return made, seen


def test_a_command_gets_all_that_it_takes_and_none_for_what_is_not_given(small):
    made, seen = small
    assert CliRunner().invoke(made, ["m.onnx"]).exit_code == 0
    assert list(seen) == ["kernel", "granularity", "allocation", "polynomials", "validate_data", "correction", "seed"]
    assert set(seen.values()) == {None}


def test_flags_become_values(small):
    made, seen = small
    CliRunner().invoke(made, ["m.onnx", "--polynomials", "--no-correction", "--data", "a.npz", "--seed", "3"])
    assert (seen["polynomials"], seen["correction"], seen["validate_data"], seen["seed"]) == (True, False, "a.npz", 3)


def test_options_stand_where_the_command_says(small):
    names = [parameter.name for parameter in typer.main.get_command(small[0]).params]
    assert names[:9] == [
        "model",
        "kernel",
        "granularity",
        "allocation",
        "polynomials",
        "own",
        "validate_data",
        "correction",
        "seed",
    ]


def test_what_is_said_of_an_option_can_be_another_thing_in_one_command():
    def flags(name):
        return {parameter.name: parameter for parameter in typer.main.get_command(app).commands[name].params}

    assert flags("validate")["max_drop"].rich_help_panel == GATES.title
    assert flags("optimize")["max_drop"].rich_help_panel == "Goal"
    assert flags("validate")["validate_data"].opts == ["--validate", "--data"]
    assert flags("optimize")["validate_data"].opts == ["--validate"]
