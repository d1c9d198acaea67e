"""The recipes for CIFAR-10, trained for an epoch on a few random images; and the committed networks, as they are."""

import dataclasses
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.document import load_document

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
CIFAR10 = ROOT.parent / "shared" / "data" / "cifar10"
MEAN, STD = np.array([[0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]], np.float32)

NAMES = ["vgg", "mobilenetv2", "convnext"]
COMMITTED = [*NAMES, "efficientnet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random images in place of CIFAR-10, of half its sides."""
    path = tmp_path_factory.mktemp("cifar10")
    generator = np.random.default_rng(0)
    for name, count in (("train", 24), ("validation", 20)):
        x = generator.integers(0, 256, (count, 16, 16, 3), np.uint8)
        np.savez(path / f"{name}.npz", x=x, y=generator.integers(0, 10, count))
    return path


@pytest.fixture
def brief(zoo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool with recipes of one epoch in small batches."""
    for name in NAMES:
        recipe = dataclasses.replace(zoo.RECIPES[name], epochs=1, batch_size=8)
        monkeypatch.setitem(zoo.RECIPES, name, recipe)
    return zoo


@pytest.mark.parametrize("name", NAMES)
def test_only_the_network_is_written(
    brief: ModuleType, folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    brief.main([name, "--images", str(folder), "--output", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}-cifar10.onnx"]
    said = capsys.readouterr().out
    assert re.fullmatch(rf"{name}-cifar10\.onnx: \d+\.\d\d % of 20 images; trained in \d+ s\n", said)


@pytest.mark.parametrize("name", NAMES)
def test_exported_network_computes_what_torch_does(
    brief: ModuleType, folder: Path, tmp_path: Path, name: str
) -> None:
    import torch

    recipe = brief.RECIPES[name]
    images = recipe.load_images(folder)
    network = brief.train(recipe, images)
    inputs = images.preprocess(images.validation_x)
    brief.export(network, inputs[:2], tmp_path / "network.onnx")
    with torch.no_grad():
        expected = network(inputs)
    assert expected.shape == (20, 10)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    (actual,) = session.run(["logits"], {"image": inputs.numpy()})
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg", {"Conv": 8, "BatchNormalization": 8, "Relu": 8, "MaxPool": 3}),
        ("mobilenetv2", {"Conv": 29, "BatchNormalization": 29, "Clip": 20, "Add": 6, "Constant": 40}),
        (
            "convnext",
            {
                "Conv": 8,
                "MatMul": 10,
                "LayerNormalization": 8,
                "Transpose": 24,
                "Erf": 6,
                "Div": 6,
                "Mul": 17,
                "Add": 21,
                "Constant": 18,
            },
        ),
    ],
)
def test_exported_graph_keeps_normalizations_and_activations(
    zoo: ModuleType, tmp_path: Path, name: str, expected: dict[str, int]
) -> None:
    import torch

    zoo.export(zoo.RECIPES[name].build().eval(), torch.zeros(2, 3, 32, 32), tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    kinds = [node.op_type for node in model.graph.node]
    end = {"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    # The fresh network's equal parameters are shared through Identity nodes.
    assert {kind: kinds.count(kind) for kind in set(kinds) - {"Identity"}} == expected | end
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)


def test_activations_of_mobilenetv2_are_clips_from_0_to_6(zoo: ModuleType, tmp_path: Path) -> None:
    import torch

    zoo.export(zoo.RECIPES["mobilenetv2"].build().eval(), torch.zeros(2, 3, 32, 32), tmp_path / "network.onnx")
    nodes = onnx.load(tmp_path / "network.onnx").graph.node
    constants = {node.output[0]: node.attribute[0].t for node in nodes if node.op_type == "Constant"}
    limits = {
        tuple(float(onnx.numpy_helper.to_array(constants[name])) for name in node.input[1:])
        for node in nodes
        if node.op_type == "Clip"
    }
    assert limits == {(0.0, 6.0)}


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "residual"),
    [(8, 8, 1, True), (8, 8, 2, False), (8, 12, 1, False)],
)
def test_block_adds_its_input_where_the_shapes_agree(
    networks: ModuleType, inputs: int, outputs: int, stride: int, residual: bool
) -> None:
    import torch

    block = networks.InvertedResidual(inputs, outputs, stride, expansion=4).eval()
    for parameter in block.project.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, inputs, 6, 6)
    expected = x if residual else torch.zeros(2, outputs, 6 // stride, 6 // stride)
    torch.testing.assert_close(block(x), expected)


def test_a_block_of_the_convnext_scales_what_it_adds(smooth: ModuleType) -> None:
    import torch

    block = smooth.ConvNeXtBlock(8).eval()
    torch.nn.init.zeros_(block.scale)
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_training_leaves_torch_as_it_was(brief: ModuleType, folder: Path) -> None:
    import torch

    def state() -> tuple[int, bool, int, bool]:
        deterministic = torch.are_deterministic_algorithms_enabled()
        return torch.get_num_threads(), deterministic, torch.initial_seed(), torch.is_autocast_enabled("cpu")

    before = state()
    recipe = brief.RECIPES["vgg"]
    brief.train(recipe, recipe.load_images(folder))
    assert state() == before


@pytest.mark.parametrize("name", NAMES)
def test_without_a_folder_the_tool_asks_for_one(
    zoo: ModuleType, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        zoo.main([name])
    assert stop.value.code == 2
    sentence = "The images of CIFAR-10 are not in this repository; name their folder with --images.\n"
    assert capsys.readouterr().err == sentence


def test_missing_file_is_named(zoo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere"
    with pytest.raises(SystemExit) as stop:
        zoo.main(["vgg", "--images", str(missing), "--output", str(tmp_path)])
    assert stop.value.code == 2
    sentence = f"{missing / 'train.npz'} is not there; --images names a folder with it.\n"
    assert capsys.readouterr().err == sentence


def test_digits_take_no_folder(zoo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        zoo.main(["digits", "--images", str(tmp_path), "--output", str(tmp_path)])
    assert capsys.readouterr().err == "The digits come with scikit-learn; leave --images out.\n"


def test_flipped_image_is_itself_or_its_mirror(training: ModuleType) -> None:
    import torch

    image = torch.arange(12.0).reshape(1, 2, 2, 3)
    flipped = training._flipped(image.repeat(100, 1, 1, 1))
    allowed = {tuple(one.flatten().tolist()) for one in (image, image.flip(3))}
    assert {tuple(one.flatten().tolist()) for one in flipped} == allowed


def test_cut_out_is_one_square_through_all_channels(training: ModuleType) -> None:
    import torch

    blank = training._cut_out(torch.ones(200, 2, 4, 5), 3) == 0
    squares = set()
    for one in blank:
        assert torch.equal(one[0], one[1])
        rows, columns = one[0].nonzero(as_tuple=True)
        squares.add((int(rows.min()), int(columns.min())))
        assert one[0].sum() == 9
        assert (int(rows.max() - rows.min()), int(columns.max() - columns.min())) == (2, 2)
    assert squares == {(row, column) for row in range(2) for column in range(3)}


def _readme(name: str) -> str:
    """The network's section."""
    return (MODELS / "README.md").read_text().split(f"## {name}-cifar10\n")[1].split("\n## ")[0]


def _network(name: str) -> Path:
    """The network's file; a source distribution is without it."""
    path = MODELS / f"{name}-cifar10.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there; models/README.md says how it is made")
    return path


def _stated(name: str, pattern: str) -> float:
    """The number that the network's section gives, with spaces between its thousands."""
    found = re.search(pattern, _readme(name))
    assert found is not None
    return float(found[1].replace(" ", ""))


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_network_has_the_size_and_counts_of_its_readme(name: str) -> None:
    path = _network(name)
    document = load_document(path)
    onnx.checker.check_model(document.model, full_check=True)
    assert all(node.name for node in document.model.graph.node)
    cost = analyze(document.plain.model).cost
    assert _stated(name, r"\| (?:ReLUs|activations) \| ([\d ]+) elements in \d+ ") == cost.relus
    assert _stated(name, r"\| (?:ReLUs|activations) \| [\d ]+ elements in (\d+) ") == cost.relu_nodes
    assert _stated(name, r"\| MACs \| ([\d ]+) \|") == cost.macs
    assert _stated(name, r"\| size \| ([\d ]+) KiB") == round(path.stat().st_size / 1024)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_network_reaches_the_accuracy_of_its_readme(name: str) -> None:
    if not CIFAR10.is_dir():
        pytest.skip("the images of CIFAR-10, ../shared/data/cifar10, are not there")
    data = np.load(CIFAR10 / "validation.npz")
    inputs = ((data["x"] / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(_network(name), providers=["CPUExecutionProvider"])
    logits = [session.run(None, {"image": inputs[start : start + 250]})[0] for start in range(0, len(inputs), 250)]
    accuracy = float(np.mean(np.concatenate(logits).argmax(axis=1) == data["y"]))
    assert 100 * accuracy == pytest.approx(_stated(name, r"validation accuracy \| ([\d.]+) %"), abs=0.1)
