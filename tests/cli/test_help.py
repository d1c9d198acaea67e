import os
import shlex
import subprocess
import sys

import pytest
import typer.main

from onnxshallow.cli.help import examples_of, groups_of
from onnxshallow.cli.main import app
from tests.runs import run

COMMANDS = typer.main.get_command(app).commands
_FIRST = next(iter(COMMANDS.values()))
CONTEXT = typer.Context(_FIRST, **_FIRST.context_settings)


def options_of(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_could_be_typed(name):
    examples = examples_of(COMMANDS[name])
    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["onnxshallow", name]
        assert {word for word in words if word.startswith("-") and word != "-"} <= options_of(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_keep_their_lines_and_all_fits_in_80_columns(name):
    shown = run(name, "--help").stdout
    for example in examples_of(COMMANDS[name]):
        assert f"\n    {example}\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown


def test_options_are_grouped():
    groups = groups_of(COMMANDS["optimize"], CONTEXT)
    assert list(groups) == [
        "Arguments",
        "Goal",
        "Goal: the price of private inference, estimated",
        "Gates: what must hold, else exit code 4",
        "Result",
        "Calibration and validation data",
        "Preprocessing of uint8 images",
        "How to work",
        "Training, which needs torch",
        "Options",
    ]
    assert "--target-relus" in groups["Goal"][0].opts
    shown = run("optimize", "--help").stdout
    assert all(f"\n{name}:\n" in shown for name in groups)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does_and_is_in_one_group(name):
    command = COMMANDS[name]
    grouped = [parameter for found in groups_of(command, CONTEXT).values() for parameter in found]
    assert {p.name for p in command.params} == {p.name for p in grouped} - {"help"}
    assert len(grouped) == len(set(grouped))
    for parameter in command.params:
        assert parameter.help


def test_every_command_has_the_options_of_the_terminal():
    for command in COMMANDS.values():
        assert {"--quiet", "-q", "--log-level", "--json"} <= options_of(command)


def test_an_unknown_option_points_to_the_help():
    outcome = run("optimize", "net.onnx", "--target-relu", "0.5")
    assert outcome.exit_code == 2
    assert "--target-relus" in outcome.stderr


def complete(line):
    """What a shell would offer at the end of a line."""
    environment = {
        **os.environ,
        "_ONNXSHALLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    code = (
        "import sys; sys.argv = ['onnxshallow']\nfrom onnxshallow.cli.main import app; app(prog_name='onnxshallow')"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("onnxshallow ana", ["analyze"]),
        ("onnxshallow optimize a.onnx --preset cifar", ["cifar10", "cifar100"]),
        ("onnxshallow optimize a.onnx --sensitivity ", ["kl", "mse", "disagreement", "magnitude"]),
        ("onnxshallow optimize a.onnx --target-re", ["--target-relus"]),
    ],
)
def test_the_shell_completes(line, expected):
    assert complete(line) == expected
