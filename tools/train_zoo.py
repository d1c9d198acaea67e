"""Train the small networks in `models/` that the README and the tests run on.

    python tools/train_zoo.py digits

writes the network (`digits-resnet.onnx`), its calibration and validation images and the `onnxshallow.toml`
that lets `onnxshallow optimize digits-resnet.onnx --target-relus 0.58` find them. Needs the `zoo` extra
(torch, scikit-learn).

To add a network: write the function that builds it, the function that loads its images, and one entry in
`RECIPES`. Everything is seeded, single-threaded and deterministic: on one machine, with one torch, two runs
write the same bytes.
"""

import argparse
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "RECIPES",
    "Images",
    "Recipe",
    "accuracy",
    "digits_resnet",
    "export",
    "load_digits",
    "main",
    "train",
]


@dataclass(frozen=True)
class Images:
    """Images of known class, in two parts; the network never sees the second one while it is trained.

    Attributes:
        train_x: (N, H, W, C) uint8. `train_y`: (N,) int64. They are also the calibration images, without
            labels.
        validation_x: (M, H, W, C) uint8. `validation_y`: (M,) int64.
        scale: what a uint8 is divided by, so that the brightest pixel is 1.
        mean: per channel, of the scaled training images.
        std: per channel, of the scaled training images.
    """

    train_x: NDArray[np.uint8]
    train_y: NDArray[np.int64]
    validation_x: NDArray[np.uint8]
    validation_y: NDArray[np.int64]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def preprocess(self, images: NDArray[np.uint8]) -> Tensor:
        """Turn (N, H, W, C) uint8 images into the network's (N, C, H, W) float32 input."""
        scaled = images.astype(np.float32) / np.float32(self.scale)
        normalized = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return torch.from_numpy(np.ascontiguousarray(normalized.transpose(0, 3, 1, 2)))


@dataclass(frozen=True)
class Recipe:
    """All that decides a trained network: what it is, what it learns from, and how."""

    model_file: str
    data_prefix: str
    load_images: Callable[[], Images]
    build: Callable[[], nn.Module]
    epochs: int = 60
    batch_size: int = 50
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    shift: int = 1
    seed: int = 0


class ResidualBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), as in the CIFAR ResNets (arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(outputs)))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        result: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return result


class ResNet(nn.Module):
    """A 3x3 stem, stages of two residual blocks each, global average pooling and one linear layer.

    Args:
        channels: of the input images.
        classes: of the output.
        stages: the (width, stride) of each stage.
    """

    def __init__(self, channels: int, classes: int, stages: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        width = stages[0][0]
        stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        # The names of the modules become the names of the ONNX nodes.
        self.stem = nn.Sequential(OrderedDict(conv=stem, bn=nn.BatchNorm2d(width), relu=nn.ReLU()))
        self.stages = nn.Sequential()
        for number, (outputs, stride) in enumerate(stages, start=1):
            first, second = ResidualBlock(width, outputs, stride), ResidualBlock(outputs, outputs, 1)
            self.stages.add_module(f"stage{number}", nn.Sequential(OrderedDict(block1=first, block2=second)))
            width = outputs
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, classes) logits."""
        logits: Tensor = self.classifier(self.flatten(self.pool(self.stages(self.stem(image)))))
        return logits


def digits_resnet() -> nn.Module:
    """A ResNet of six blocks for (N, 1, 8, 8): 13 ReLUs of 11 264 elements, wider than digits need."""
    return ResNet(channels=1, classes=10, stages=((16, 1), (16, 1), (32, 2)))


def load_digits() -> Images:
    """scikit-learn's digits, 1 797 8x8 images of grey levels 0..16: 1 200 to train on, 597 to validate."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    pixels = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    train_x, validation_x, train_y, validation_y = train_test_split(
        pixels, labels, train_size=1200, stratify=labels, random_state=0
    )
    scaled = train_x / 16.0
    mean, std = round(float(scaled.mean()), 4), round(float(scaled.std()), 4)
    return Images(train_x, train_y, validation_x, validation_y, scale=16, mean=(mean,), std=(std,))


RECIPES = {
    "digits": Recipe("digits-resnet.onnx", "digits", load_digits, digits_resnet),
}


def train(recipe: Recipe, images: Images, epochs: int | None = None) -> nn.Module:
    """Train the recipe's network.

    SGD, one cycle of the learning rate and of the Nesterov momentum, images shifted at random.

    Args:
        recipe: what to train and how.
        images: what to train on; only the training part is used.
        epochs: instead of the recipe's.

    Returns:
        The network in evaluation mode.
    """
    with _deterministic(recipe.seed):
        return _train(recipe, images, recipe.epochs if epochs is None else epochs)


def accuracy(network: nn.Module, images: Images) -> float:
    """The fraction of the validation images that the network gets right."""
    with torch.no_grad():
        answers = network(images.preprocess(images.validation_x)).argmax(1).numpy()
    return float((answers == images.validation_y).mean())


def export(network: nn.Module, sample: Tensor, path: Path) -> None:
    """Write the network as ONNX: opset 17, IR 8, a symbolic batch, BatchNormalization left as it is.

    Args:
        network: in evaluation mode.
        sample: one batch of inputs, (N, C, H, W).
        path: the file to write.
    """
    with warnings.catch_warnings():
        # The TorchScript exporter needs no further package, and names nodes after the modules.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (sample,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            # In mode EVAL it would fold every BatchNormalization into its convolution.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )


def write_data(recipe: Recipe, images: Images, folder: Path) -> None:
    """Write the calibration images (unlabelled), the validation images (labelled) and the settings file."""
    calibration, validation = f"{recipe.data_prefix}-calibration.npz", f"{recipe.data_prefix}-validation.npz"
    np.savez_compressed(folder / calibration, x=images.train_x)
    np.savez_compressed(folder / validation, x=images.validation_x, y=images.validation_y)
    settings = [
        f"# Written by tools/train_zoo.py: how {recipe.model_file} wants its images.",
        f'calib = "{calibration}"',
        f'validate = "{validation}"',
        f"scale = {images.scale:g}",
        'layout = "nhwc"',
        f"mean = {list(images.mean)}",
        f"std = {list(images.std)}",
    ]
    (folder / "onnxshallow.toml").write_text("\n".join(settings) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Train one network and write it with its data."""
    parser = argparse.ArgumentParser(description="Train one of the small networks in models/.")
    parser.add_argument("network", choices=sorted(RECIPES))
    parser.add_argument("--output", type=Path, default=Path(__file__).resolve().parents[1] / "models")
    options = parser.parse_args(arguments)
    recipe, folder = RECIPES[options.network], options.output
    folder.mkdir(parents=True, exist_ok=True)
    images = recipe.load_images()
    network = train(recipe, images)
    export(network, images.preprocess(images.train_x[:2]), folder / recipe.model_file)
    write_data(recipe, images, folder)
    print(f"{recipe.model_file}: {100 * accuracy(network, images):.2f} % of {len(images.validation_y)} images")


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed torch and make its arithmetic repeatable; all is as it was afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(1)  # the order of parallel sums would depend on the machine's cores
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)


def _train(recipe: Recipe, images: Images, epochs: int) -> nn.Module:
    network = recipe.build().train()
    inputs, labels = images.preprocess(images.train_x), torch.from_numpy(images.train_y)
    # A shifted image is filled with black, which normalizing has made negative.
    black = images.preprocess(np.zeros_like(images.train_x[:1]))
    optimizer = torch.optim.SGD(
        network.parameters(),
        recipe.learning_rate,
        momentum=0.95,  # the schedule lowers it to 0.85 where the learning rate is highest
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=epochs * (len(inputs) // recipe.batch_size),
        pct_start=0.2,
    )
    for _ in range(epochs):
        for batch in _batches(len(inputs), recipe.batch_size):
            logits = network(_shifted(inputs[batch], black, recipe.shift))
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _batches(samples: int, batch_size: int) -> Iterator[Tensor]:
    """The samples' indices in a random order, in full batches; the rest is left for another epoch."""
    order = torch.randperm(samples)
    for start in range(0, samples - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def _shifted(inputs: Tensor, black: Tensor, shift: int) -> Tensor:
    """Move each image by up to `shift` pixels in both directions, filling with black."""
    count, _, height, width = inputs.shape
    # Where the image is padded with zeros, zero must mean black.
    padded = functional.pad(inputs - black, (shift, shift, shift, shift))
    offsets = torch.randint(0, 2 * shift + 1, (count, 2))
    rows = offsets[:, :1] + torch.arange(height)
    columns = offsets[:, 1:] + torch.arange(width)
    sample = torch.arange(count)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2) + black


if __name__ == "__main__":
    main()
