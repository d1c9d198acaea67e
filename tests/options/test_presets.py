import pytest

from onnxshallow.options.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_as_many_means_as_deviations(name):
    assert len(PRESETS[name]["mean"]) == len(PRESETS[name]["std"])
    assert all(0 < value < 1 for value in (*PRESETS[name]["mean"], *PRESETS[name]["std"]))
