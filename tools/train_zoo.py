"""Train the small networks in `models/` that the README and the tests run on.

    python tools/train_zoo.py digits
    python tools/train_zoo.py vgg --images FOLDER
    python tools/train_zoo.py mobilenetv2 --images FOLDER
    python tools/train_zoo.py efficientnet --images FOLDER
    python tools/train_zoo.py convnext --images FOLDER

The first writes the network (`digits-resnet.onnx`), its calibration and validation images and the
`onnxshallow.toml` that lets `onnxshallow optimize digits-resnet.onnx --target-relus 0.58` find them. The
others write only the network: FOLDER holds the images of CIFAR-10, `train.npz` to train on and
`validation.npz` to report the accuracy on, each with `x`, (N, 32, 32, 3) uint8, and the classes `y`. Needs
the `zoo` extra (torch, scikit-learn).

To add a network: write the function that builds it, the function that loads its images, and one entry in
`RECIPES`. Everything is seeded and deterministic. The digits are trained on a single thread: on one machine,
with one torch, two runs write the same bytes. The networks for CIFAR-10 are trained in bfloat16 on all cores,
and another number of cores may round differently.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from torch import nn
from zoo.files import export, write_data
from zoo.images import ImagesError, load_cifar10, load_digits
from zoo.networks import cifar10_mobilenetv2, cifar10_vgg, digits_resnet
from zoo.smooth import cifar10_convnext, cifar10_efficientnet
from zoo.training import Recipe, accuracy, train

__all__ = ["RECIPES", "main"]


def _cifar10(model_file: str, build: Callable[[], nn.Module], epochs: int) -> Recipe:
    """What the networks for CIFAR-10 have in common."""
    return Recipe(
        model_file, None, load_cifar10, build, epochs, batch_size=128, shift=4, flip=True, cutout=8, fast=True
    )


RECIPES = {
    "convnext": dataclasses.replace(
        _cifar10("convnext-cifar10.onnx", cifar10_convnext, epochs=40),
        adaptive=True,
        learning_rate=4e-3,
        weight_decay=0.05,
    ),
    "digits": Recipe("digits-resnet.onnx", "digits", load_digits, digits_resnet),
    "vgg": _cifar10("vgg-cifar10.onnx", cifar10_vgg, epochs=80),
    "efficientnet": _cifar10("efficientnet-cifar10.onnx", cifar10_efficientnet, epochs=20),
    "mobilenetv2": _cifar10("mobilenetv2-cifar10.onnx", cifar10_mobilenetv2, epochs=60),
}


def main(arguments: list[str] | None = None) -> None:
    """Train one network and write it, with its data where they may be given away."""
    parser = argparse.ArgumentParser(description="Train one of the small networks in models/.")
    parser.add_argument("network", choices=sorted(RECIPES))
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="with train.npz and validation.npz of CIFAR-10")
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / "models")
    options = parser.parse_args(arguments)
    recipe, folder = RECIPES[options.network], options.output
    try:
        images = recipe.load_images(options.images)
    except ImagesError as error:
        parser.exit(2, f"{error}\n")
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    network = train(recipe, images)
    seconds = time.perf_counter() - start
    export(network, images.preprocess(images.train_x[:2]), folder / recipe.model_file)
    if recipe.data_prefix is not None:
        write_data(recipe.model_file, recipe.data_prefix, images, folder)
    right = f"{100 * accuracy(network, images):.2f} % of {len(images.validation_y)} images"
    print(f"{recipe.model_file}: {right}; trained in {seconds:.0f} s")


if __name__ == "__main__":
    main()
