"""Export a network that torchvision knows, with its preprocessing in an `onnxshallow.toml` beside it.

    python tools/export_torchvision.py resnet18 FOLDER
    python tools/export_torchvision.py resnet50 FOLDER --weights trained.pt --opset 18
    python tools/export_torchvision.py vgg16_bn FOLDER --weights none --batch 1

writes `FOLDER/NAME.onnx`, so that `onnxshallow optimize FOLDER/NAME.onnx --target-relus 0.58 --calib IMAGES` needs no
flags for the images. `--weights DEFAULT` are torchvision's best, which it downloads; `none` are random ones, to look
at the graph; a file is a state dict as `torch.save(network.state_dict(), ...)` writes it, and no code in it is run.
BatchNormalization stays in the graph. Needs `pip install torch torchvision`.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from onnxshallow.model.files import atomic_path, write_text

__all__ = ["NETWORKS", "ExportError", "main"]

# Plain chains, residual networks and inverted residuals, whose activations are ReLU or ReLU6.
NETWORKS = (
    "alexnet",
    "densenet121",
    "googlenet",
    "mnasnet1_0",
    "mobilenet_v2",
    "regnet_x_400mf",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "vgg11_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19_bn",
    "wide_resnet50_2",
)


class ExportError(Exception):
    """The network cannot be exported; the message is a sentence that says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Export one network; returns the exit code."""
    parser = argparse.ArgumentParser(description="Export a torchvision network and its preprocessing.")
    parser.add_argument("name", choices=NETWORKS, metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("folder", type=Path, help="where the model and onnxshallow.toml go")
    parser.add_argument("--weights", default="DEFAULT", help="DEFAULT, none, or the file of a state dict")
    parser.add_argument("--opset", type=int, default=17, help="of ONNX [default: 17]")
    parser.add_argument("--batch", type=int, help="a fixed batch size; left out, the batch is open")
    options = parser.parse_args(arguments)
    if options.batch is not None and options.batch < 1:
        parser.error("--batch is at least 1")
    try:
        import torch
        import torchvision
    except ImportError as error:
        print(f"error: {error.name} is not installed; pip install torch torchvision.", file=sys.stderr)
        return 3
    try:
        transforms = torchvision.models.get_model_weights(options.name).DEFAULT.transforms()
        network = _network(torch, torchvision, options.name, options.weights)
        options.folder.mkdir(parents=True, exist_ok=True)
        settings = _settings(f"{options.name}.onnx", transforms)
        _check_settings(options.folder / "onnxshallow.toml", settings)
        target = options.folder / f"{options.name}.onnx"
        _export(torch, network, _first(transforms.crop_size), target, options.opset, options.batch)
        write_text(settings, options.folder / "onnxshallow.toml")
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    print(f"{target}: {options.name}, weights {options.weights}, opset {options.opset}")
    return 0


def _network(torch: Any, torchvision: Any, name: str, weights: str) -> Any:
    """The network in evaluation mode.

    Raises:
        ExportError: the weights cannot be downloaded or read, or are those of another network.
    """
    if weights == "DEFAULT":
        try:
            return torchvision.models.get_model(name, weights="DEFAULT").eval()
        except OSError as error:
            raise ExportError(
                f"The weights of {name} cannot be downloaded: {error}. On a machine without internet fetch them "
                "elsewhere and give their file with --weights."
            ) from error
    network = torchvision.models.get_model(name, weights=None)
    if weights != "none":
        try:
            # weights_only: a pickle of anything but tensors is refused, as it could run code.
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ExportError(
                f"{weights} cannot be read as weights: {str(error).splitlines()[0]} Save a state dict with "
                "torch.save(network.state_dict(), FILE)."
            ) from error
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ExportError(
                f"{weights} does not hold the weights of {name}: {str(error).splitlines()[0]} Give the state dict of "
                "this network, with as many classes."
            ) from error
    return network.eval()


def _export(torch: Any, network: Any, size: int, target: Path, opset: int, batch: int | None) -> None:
    """Write the ONNX file whole or not at all.

    Raises:
        ExportError: the exporter refuses, for example an opset that it does not know.
    """
    axes = {"image": {0: "batch"}, "logits": {0: "batch"}} if batch is None else None
    with warnings.catch_warnings(), atomic_path(target) as temporary:
        # The TorchScript exporter needs no further package, and names nodes after the modules.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network,
                (torch.zeros(batch or 1, 3, size, size),),
                str(temporary),
                dynamo=False,
                opset_version=opset,
                input_names=["image"],
                output_names=["logits"],
                dynamic_axes=axes,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
            )
        except (RuntimeError, ValueError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise ExportError(f"torch cannot export this to opset {opset}: {first} Try another --opset.") from error


def _settings(model: str, transforms: Any) -> str:
    """The options file that says how the network wants its images."""
    lines = [
        f"# Written by tools/export_torchvision.py: how {model} wants its images.",
        f"resize = {_first(transforms.resize_size)}",
        f"crop = {_first(transforms.crop_size)}",
        f"mean = {list(transforms.mean)}",
        f"std = {list(transforms.std)}",
    ]
    return "\n".join(lines) + "\n"


def _first(size: int | list[int]) -> int:
    """Torchvision writes a size as a number or as a list of one."""
    return size if isinstance(size, int) else int(size[0])


def _check_settings(path: Path, settings: str) -> None:
    """Leave an options file alone that says something else.

    Raises:
        ExportError: there is one.
    """
    if path.is_file():
        there = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        if there != settings.splitlines()[1:]:
            raise ExportError(f"{path} is there already and says something else; choose another folder.")


if __name__ == "__main__":
    sys.exit(main())
