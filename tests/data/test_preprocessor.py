import json

import numpy as np
import pytest

from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.preprocessor import read_preprocessor
from onnxshallow.errors import UsageError
from onnxshallow.options.config import load_config, resolve

RESNET = {  # microsoft/resnet-50
    "crop_pct": 0.875, "do_normalize": True, "do_resize": True, "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 224,
}  # fmt: skip
MOBILENET = {  # google/mobilenet_v2_1.0_224
    "crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_normalize": True, "do_rescale": True,
    "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2,
    "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 256},
}  # fmt: skip
TIMM = {  # timm/resnet50.a1_in1k
    "pretrained_cfg": {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }
}  # fmt: skip


def saved(folder, content):
    path = folder / "preprocessor_config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(folder, content):
    return Preprocessing(**read_preprocessor(saved(folder, content)))


def test_a_size_and_the_share_that_is_cropped(tmp_path):
    found = read(tmp_path, RESNET)
    assert (found.resize, found.crop, found.interpolation) == (256, 224, "bicubic")
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.scale == pytest.approx(255)


def test_large_images_are_scaled_whole(tmp_path):
    found = read(tmp_path, {**RESNET, "size": {"shortest_edge": 384}})
    assert (found.resize, found.crop) == ((384, 384), None)


def test_a_shortest_edge_and_a_crop(tmp_path):
    found = read(tmp_path, MOBILENET)
    assert (found.resize, found.crop, found.interpolation) == (256, 224, "bilinear")
    assert found.std == (0.5, 0.5, 0.5)


def test_a_height_and_a_width(tmp_path):
    found = read(tmp_path, {**MOBILENET, "size": {"height": 20, "width": 30}, "do_center_crop": False})
    assert found.resized(np.zeros((50, 40, 3), np.uint8)).shape == (20, 30, 3)


def test_what_is_not_to_be_done(tmp_path):
    found = read(tmp_path, {"do_resize": False, "do_normalize": False, "do_rescale": False, "size": 224})
    assert (found.resize, found.mean, found.std, found.scale) == (None, None, None, 1.0)
    assert read(tmp_path, {"do_flip_channel_order": True}).channels == "bgr"


def test_the_file_of_timm(tmp_path):
    found = read(tmp_path, TIMM)
    assert (found.resize, found.crop, found.interpolation) == (235, 224, "bicubic")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "JSONDecodeError"),
        ("[1]", "it holds no object"),
        ({**RESNET, "resample": 1}, "scaled by 1"),
        ({**MOBILENET, "crop_size": {"height": 224, "width": 192}}, "224x192 is no square"),
        ({**MOBILENET, "rescale_factor": 0}, "ZeroDivisionError"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "input_size"),
    ],
)
def test_what_cannot_be_followed_is_said(tmp_path, content, words):
    with pytest.raises(UsageError, match=words):
        read_preprocessor(saved(tmp_path, content))


def test_a_file_that_is_missing_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"none.json: cannot be used"):
        read_preprocessor(tmp_path / "none.json")


def test_options_that_are_given_count_more(tmp_path):
    path = str(saved(tmp_path, RESNET))
    plain = Preprocessing.from_config(resolve({"preprocessor": path}, None))
    assert (plain.scale, plain.interpolation) == (pytest.approx(255), "bicubic")
    other = Preprocessing.from_config(resolve({"preprocessor": path, "interpolation": "bilinear", "crop": 9}, None))
    assert (other.interpolation, other.crop, other.resize) == ("bilinear", 9, 256)


def test_a_preset_beside_it_is_refused(tmp_path):
    config = resolve({"preprocessor": str(saved(tmp_path, RESNET)), "preset": "imagenet"}, None)
    with pytest.raises(UsageError, match="leave one out"):
        Preprocessing.from_config(config)


def test_the_path_in_an_options_file_is_meant_beside_it(tmp_path):
    options = tmp_path / "onnxshallow.toml"
    options.write_text('preprocessor = "preprocessor_config.json"\n', encoding="utf-8")
    assert load_config(options)["preprocessor"] == str(tmp_path / "preprocessor_config.json")
