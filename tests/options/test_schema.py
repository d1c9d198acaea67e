"""Every option says what it is, and so do those who are made of it."""

import pytest
import typer.main

from onnxshallow.cli.main import app
from onnxshallow.options.presets import PRESETS
from onnxshallow.options.schema import OPTIONS, Config


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_has_a_sentence_a_group_and_a_flag(option):
    assert option.flag.text.endswith(".")
    assert option.flag.group is not None
    flags = {
        flag for command in typer.main.get_command(app).commands.values() for p in command.params for flag in p.opts
    }
    assert f"--{'no-' if option.flag.negative else ''}{option.word}" in flags


def test_options_that_are_on_are_turned_off_by_their_flag():
    assert {option.name for option in OPTIONS if option.flag.negative} == {
        option.name for option in OPTIONS if option.default is True
    }


def test_presets_are_named_where_they_are_described():
    (preset,) = (option for option in OPTIONS if option.name == "preset")
    assert preset.choices == tuple(PRESETS)
    assert all(name in preset.help for name in PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_options(name):
    assert PRESETS[name].keys() <= Config.model_fields.keys()
    assert Config(preset=name).preset == name
