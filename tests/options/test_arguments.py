from pathlib import Path

import numpy as np
import pytest

from onnxshallow.errors import UsageError
from onnxshallow.model.document import as_document, load_document
from onnxshallow.options.arguments import read_arguments
from onnxshallow.options.config import Config
from tests.runs import net, save_case

ARRAY = np.zeros((2, 3))


def test_data_are_arguments_or_options():
    by_argument = read_arguments(net(), None, {"seed": 3}, ARRAY, "b.npz")
    by_option = read_arguments(net(), None, {"seed": 3, "calib": ARRAY, "validate": "b.npz"})
    for config in (by_argument, by_option):
        assert config.calib is ARRAY
        assert (config.validate_data, config.seed) == ("b.npz", 3)


def test_paths_become_text():
    assert read_arguments(net(), None, {}, Path("a.npz"), Path("b.npz")).calib == "a.npz"


@pytest.mark.parametrize(("given", "words"), [(("a", None), "calibration and"), ((None, "a"), "validation and")])
def test_nothing_is_given_twice(given, words):
    with pytest.raises(UsageError, match=words):
        read_arguments(net(), None, {"calib": "b", "validate": "b"}, *given)


def test_data_may_come_beside_a_config():
    config = Config(seed=3, validate_data="b.npz")
    found = read_arguments(net(), config, {}, ARRAY)
    assert found.calib is ARRAY
    assert (found.seed, found.validate_data) == (3, "b.npz")
    assert read_arguments(net(), config, {}) is config
    with pytest.raises(UsageError, match="ridge is given beside config"):
        read_arguments(net(), config, {"ridge": 1})


def test_the_file_beside_the_model_counts_for_files_only(tmp_path, monkeypatch):
    model, _ = save_case(tmp_path)
    (tmp_path / "onnxshallow.toml").write_text("seed = 5")
    monkeypatch.chdir(tmp_path)
    assert read_arguments(str(model), None, {}).seed == 5
    assert read_arguments(load_document(model), None, {}).seed == 5
    assert read_arguments(net(), None, {}).seed == 0
    assert read_arguments(as_document(net()), None, {}).seed == 0
    assert read_arguments(model, Config(), {}).seed == 0


def test_a_number_is_no_data():
    with pytest.raises(UsageError, match="calib cannot be 5: it must be a path"):
        read_arguments(net(), None, {}, 5)


def test_reports_name_what_held_the_samples():
    dumped = Config(calib=ARRAY, validate_data=(ARRAY, ARRAY)).model_dump(mode="json", by_alias=True)
    assert (dumped["calib"], dumped["validate"]) == ("<ndarray>", "<tuple>")
