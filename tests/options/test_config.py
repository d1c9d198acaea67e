import logging
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config, load_config, resolve


@pytest.fixture
def write(tmp_path):
    def write(text, name="onnxshallow.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_defaults():
    config = Config()
    assert (config.calib_samples, config.kernel, config.sensitivity, config.correction) == (
        1024,
        "auto",
        "kl",
        True,
    )
    assert (config.granularity, config.polynomials, config.mask_form) == ("auto", False, None)
    assert Preprocessing.from_config(config) == Preprocessing()


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        Config().seed = 1


def test_preprocessing_overrides_the_preset():
    config = resolve({"preset": "imagenet", "crop": 160, "channels": "bgr"}, Path("model.onnx"))
    assert Preprocessing.from_config(config) == Preprocessing(
        mean=(0.406, 0.456, 0.485), std=(0.225, 0.224, 0.229), resize=256, crop=160, channels="bgr"
    )


@pytest.mark.parametrize("given", ["0.4, 0.5,0.6", (0.4, 0.5, 0.6), [0.4, 0.5, 0.6]])
def test_means_as_text_or_numbers(given):
    assert resolve({"mean": given}, Path("model.onnx")).mean == (0.4, 0.5, 0.6)


def test_a_single_mean():
    assert resolve({"mean": 0.5, "std": "0.25"}, Path("model.onnx")).mean == (0.5,)


@pytest.mark.parametrize("given", ["x:0:1,3,8,8", ["x:0:1,3,8,8"], {"x:0": [1, 3, 8, 8]}, {"x:0": (1, 3, 8, 8)}])
def test_input_shapes(given):
    assert resolve({"input_shape": given}, Path("model.onnx")).input_shape == {"x:0": (1, 3, 8, 8)}


@pytest.mark.parametrize("given", ["x=0=boxes", ["x=0=boxes"], {"x=0": "boxes"}])
def test_output_kinds(given):
    assert resolve({"output_kind": given}, Path("model.onnx")).output_kind == {"x=0": "boxes"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("boxes", "what an output means is given as NAME=classes"),
        (["y=classes", "z=boxes", "y=boxes"], "it says two things of one name; leave one out"),
        ("y=box", "should be 'classes', 'scores', 'boxes', 'embedding', 'regression' or 'mask'"),
    ],
)
def test_output_kinds_that_are_none(given, message):
    with pytest.raises(UsageError, match=message):
        resolve({"output_kind": given}, Path("model.onnx"))


def test_a_whole_config_file(write, tmp_path):
    path = write(
        """
        target-relus = "320k"
        target-macs = 0.7
        max-drop = 0.01
        kernel = 3
        granularity = "channel"
        polynomials = true
        mask-form = "split"
        calib = "data/train.npz"
        calib-samples = 768
        validate = "/data/validation.npz"
        mean = [0.5]
        memory = 1000000
        input-shape = { input = [1, 3, 32, 32] }
        output-kind = { offsets = "boxes" }
        """
    )
    config = resolve({}, tmp_path / "model.onnx")
    assert config == resolve({}, Path("elsewhere.onnx"), path)
    assert (config.target_relus, config.target_macs, config.max_drop) == ("320k", 0.7, 0.01)
    assert (config.kernel, config.calib_samples, config.mean, config.memory) == ("3", 768, (0.5,), "1000000")
    assert (config.granularity, config.polynomials, config.mask_form) == ("channel", True, "split")
    assert config.calib == str(tmp_path / "data" / "train.npz")
    assert config.validate_data == "/data/validation.npz"
    assert config.input_shape == {"input": (1, 3, 32, 32)}
    assert config.output_kind == {"offsets": "boxes"}


def test_given_options_go_before_the_file_and_the_file_before_the_defaults(write, tmp_path, caplog):
    write('seed = 5\nridge = 10\nvalidate = "a.npz"')
    with caplog.at_level(logging.INFO):
        config = resolve({"seed": 7, "ridge": None, "validate": "b.npz"}, tmp_path / "model.onnx")
    assert (config.seed, config.ridge, config.batch_size, config.validate_data) == (7, 10.0, 64, "b.npz")
    assert "onnxshallow.toml" in caplog.text


@pytest.mark.parametrize("name", ["target_relus", "target-relus", "target_activations", "target-activations"])
def test_options_go_by_either_spelling(name):
    assert resolve({name: "0.5"}, Path("model.onnx")).target_relus == "0.5"


def test_two_names_of_one_option_are_not_given_at_once():
    with pytest.raises(UsageError, match="target_activations is another name of an option that is given as well"):
        resolve({"target_relus": 0.5, "target_activations": 0.4}, Path("model.onnx"))


def test_load_config_gives_only_what_is_set(write):
    assert load_config(write("seed = 3\nkernel = 5")) == {"seed": 3, "kernel": 5}


def test_an_unknown_option_in_a_file_is_named_with_the_nearest(write):
    with pytest.raises(
        UsageError, match=r"onnxshallow.toml: target-relu is not an option; the nearest is 'target-relus'"
    ):
        load_config(write("target-relu = 0.5"))


def test_an_unknown_option_given_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="--callib is not an option; the nearest is 'calib'"):
        resolve({"callib": "a.npz"}, Path("model.onnx"))


def test_tables_are_no_options(write):
    with pytest.raises(UsageError, match="preprocess is not an option"):
        load_config(write("[preprocess]\nmean = [0.5]"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("calib-samples = 0", "calib-samples cannot be 0: should be greater than 0."),
        ("target-macs = 0", "target-macs cannot be 0: it must be a positive number, such as 0.58 or 320k."),
        ("target-macs = true", "target-macs cannot be true: it is no switch; give a value."),
        (
            "target-macs = 1.5",
            "target-macs cannot be 1.5: it is neither a fraction up to 1 nor a whole count.",
        ),
        ('kernel = "7"', "kernel cannot be \"7\": should be 'auto', 'exact', '3' or '5'."),
        ('granularity = "row"', "granularity cannot be \"row\": should be 'auto', 'layer', 'channel' or 'pixel'."),
        ('polynomials = "some"', 'polynomials cannot be "some": should be a valid boolean'),
        ('mask-form = "where"', "mask-form cannot be \"where\": should be 'split', 'prelu' or 'max'."),
        (
            'granularity = "pixel"\nmask-form = "split"',
            'mask-form cannot be "split": pixel masks have only the prelu form; leave it out, or take granularity '
            "channel, whose masks can be split.",
        ),
        ("max-drop = true", "max-drop cannot be true: it is no switch; give a value."),
        ("calib-samples = true", "calib-samples cannot be true: it is no switch"),
        ("max-drop = 2", "max-drop cannot be 2: should be less than or equal to 1."),
        ('mean = "0.4;0.5"', 'mean cannot be "0.4;0.5": should be a valid number'),
        ('memory = "lots"', 'memory cannot be "lots": write it like 4G or 512M.'),
        ('input-shape = "1,3,8,8"', "input-shape cannot be .*: a shape is given as NAME:1,3,224,224."),
        ("input-shape = { x = [1, 0] }", "input-shape cannot be 0: should be greater than 0."),
        (
            "validate = 3",
            "validate cannot be 3: it must be a path, or in Python arrays",
        ),
        ("ridge = nan", "ridge cannot be NaN"),
        ("max-error = inf", "max-error cannot be Infinity: should be a finite number."),
        ('preset = "svhn"', "preset cannot be \"svhn\": should be 'imagenet', 'cifar10', 'cifar100' or 'mnist'."),
        ('sensitivity = "snip"', "sensitivity cannot be"),
    ],
)
def test_an_invalid_value_is_one_sentence(write, line, message):
    path = write(line)
    with pytest.raises(UsageError, match=f"^{path}: {message}") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_an_invalid_given_value_is_named_like_its_option():
    with pytest.raises(UsageError, match=r"^--calib-samples cannot be -1: should be greater than 0"):
        resolve({"calib_samples": -1}, Path("model.onnx"))


def test_values_that_do_not_go_together_are_told_by_preprocessing():
    with pytest.raises(UsageError, match=r"--std .* must be one positive number"):
        Preprocessing.from_config(resolve({"std": "0,1,1"}, Path("model.onnx")))


@pytest.mark.parametrize("option", ["calib", "validate"])
def test_a_config_file_may_not_run_code(write, option):
    with pytest.raises(UsageError, match=r"'reader.py:make' would run code, which a config file may not ask for"):
        load_config(write(f'{option} = "reader.py:make"'))


def test_the_command_line_may_run_code():
    assert resolve({"calib": "reader.py:make"}, Path("model.onnx")).calib == "reader.py:make"


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2"])
def test_a_malformed_file_is_named(tmp_path, content):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"a.toml: cannot be read as a config file"):
        load_config(tmp_path / "a.toml")


def test_a_named_config_file_must_exist(tmp_path):
    with pytest.raises(UsageError, match=r"gone.toml: cannot be read as a config file"):
        resolve({}, tmp_path / "model.onnx", tmp_path / "gone.toml")


def test_importing_the_options_does_not_import_numpy():
    code = "import sys, onnxshallow.options.config; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_preset_that_is_given_counts_for_more_than_the_file(tmp_path):
    (tmp_path / "onnxshallow.toml").write_text("mean = [0.1]\nstd = [0.2]\nscale = 16\nseed = 3\n", encoding="utf-8")
    plain = resolve({}, tmp_path / "model.onnx")
    assert (plain.mean, plain.scale) == ((0.1,), 16)
    given = resolve({"preset": "cifar10", "std": "0.5"}, tmp_path / "model.onnx")
    assert (given.mean, given.std, given.scale, given.seed) == (None, (0.5,), 255, 3)


@pytest.mark.parametrize("form", [None, "prelu", "max"])
def test_pixel_masks_are_not_split(form):
    assert resolve({"granularity": "pixel", "mask_form": form}, Path("model.onnx")).mask_form == form


def test_a_mask_form_contradicts_the_granularity_of_the_file(write, tmp_path):
    write('granularity = "pixel"')
    with pytest.raises(UsageError, match='--mask-form cannot be "split": pixel masks have only the prelu form'):
        resolve({"mask_form": "split"}, tmp_path / "model.onnx")


@pytest.mark.parametrize("price", ["target_private", "target_bytes", "target_messages"])
def test_a_max_is_of_no_use_where_comparisons_are_paid_for(price):
    with pytest.raises(UsageError, match="a Max compares every element"):
        resolve({price: "0.5", "mask_form": "max"}, Path("model.onnx"))


def test_limits():
    config = resolve({"max-tensor": "2G", "max_data": 1000}, Path("model.onnx"))
    assert (config.tensor_limit, config.data_limit) == (2**31, 1000)
    assert (Config().tensor_limit, Config().data_limit) == (2**29, None)
    with pytest.raises(UsageError, match='--max-tensor cannot be "huge": write it like 4G or 512M'):
        resolve({"max_tensor": "huge"}, Path("model.onnx"))


def test_a_file_beside_the_model_does_not_raise_the_limits(write, tmp_path, caplog):
    path = write('max-tensor = "9T"\nmax-data = "9T"\nseed = 3')
    config = resolve({}, tmp_path / "model.onnx")
    assert (config.max_tensor, config.max_data, config.seed) == (None, None, 3)
    assert "its max_tensor does not count; name it with --config" in caplog.text
    assert resolve({}, tmp_path / "model.onnx", path).tensor_limit == 9 * 2**40
    assert resolve({"max_tensor": "1G"}, tmp_path / "model.onnx").tensor_limit == 2**30


def test_a_file_nested_too_deeply_is_named(write):
    with pytest.raises(UsageError, match=r"onnxshallow.toml: cannot be read as a config file"):
        load_config(write("a = " + "[" * 50_000))


def test_a_mark_at_the_beginning_of_the_file_is_no_option(tmp_path):
    path = tmp_path / "onnxshallow.toml"
    path.write_text("target-relus = 0.6\n", encoding="utf-8-sig")
    assert load_config(path) == {"target_relus": "0.6"} or load_config(path) == {"target_relus": 0.6}
