"""Real files of other people's exporters, and two trained networks with known counts."""

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from onnxshallow.analysis import analyze, find_regions
from onnxshallow.errors import ModelError
from onnxshallow.model.document import Document, load_document, save_model
from onnxshallow.model.editor import GraphEditor
from tests.graphs import frozen

SHARED = Path(__file__).parents[3] / "shared"
FILES = sorted([*SHARED.glob("corpus/*.onnx"), *SHARED.glob("models/*.onnx")])
NAMES = [path.name for path in FILES]
# An opset import in a model of IR 2, which onnx's checker and onnxruntime refuse alike.
REFUSED = ("starry-night-fp16",)
# Weights of hundreds of megabytes, made by ConstantOfShape: the regions would take a minute's share of the tests.
HUGE = ("vgg19", "alexnet")


if not FILES:
    pytest.skip(
        "the corpus of real models, ../shared/corpus and ../shared/models, is not there", allow_module_level=True
    )


def load(path: Path) -> Document:
    try:
        return load_document(path)
    except ModelError as error:
        if any(name in path.name for name in REFUSED):
            pytest.skip(f"refused, as it should be: {error}")
        raise


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_lossless(path, tmp_path):
    model = load(path).model
    before = frozen(model)
    assert frozen(GraphEditor(model).finish()) == before
    for external in (False, True):
        save_model(model, tmp_path / "copy.onnx", external=external)
        again = load_document(tmp_path / "copy.onnx")
        if again.external:  # values that lay in typed fields are raw bytes now
            for read, written in zip(again.model.graph.initializer, model.graph.initializer, strict=True):
                np.testing.assert_array_equal(numpy_helper.to_array(read), numpy_helper.to_array(written))
        else:
            assert frozen(again.model) == before


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_analysis_ends_well(path):
    model = load(path).model
    before = frozen(model)
    analysis = analyze(model)
    cost = analysis.cost
    assert cost.relu_nodes == len(analysis.sites)
    assert cost.relus == sum(site.size or 0 for site in analysis.sites)
    assert all(site.refusal for site in analysis.sites if site.size is None)
    nodes = [index for layer in analysis.layers for index in layer.nodes]
    assert len(nodes) == len(set(nodes)), "two layers share a node"
    if not any(name in path.name for name in HUGE):
        regions, reasons = find_regions(analysis)
        covered = {name for region in regions for name in region.sites}
        removable = {site.name for site in analysis.sites if site.refusal is None}
        assert covered <= removable
        assert removable - covered <= set(reasons)
    assert frozen(model) == before


@pytest.mark.parametrize(
    ("name", "relus", "macs"),
    [("resnet20-cifar10.onnx", 188_416, 40.8e6), ("resnet18-cifar100.onnx", 557_056, 555.4e6)],
)
def test_known_counts(name, relus, macs):
    path = SHARED / "models" / name
    if not path.is_file():
        pytest.skip(f"../shared/models/{name} is not there")
    cost = analyze(load_document(path).model).cost
    assert cost.relus == relus
    assert cost.macs == pytest.approx(macs, rel=0.01)
    assert cost.unknown == ()
