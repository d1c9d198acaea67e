import json

import pytest

from onnxshallow.errors import UsageError
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
        ("optimize", ("--target-relus", "0.5"), ("layer", False, None)),
        ("pareto", EVERY, ("channel", True, "prelu")),
        ("sensitivity", MASKS, ("channel", True, None)),
        ("apply", ("plan.json", "--mask-form", "prelu"), ("layer", False, "prelu")),
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
