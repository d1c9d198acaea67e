"""The one training loop of the zoo, and what a recipe can set of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.images import Images

__all__ = ["Recipe", "accuracy", "train"]


@dataclass(frozen=True)
class Recipe:
    """All that decides a trained network: what it is, what it learns from, and how.

    Attributes:
        model_file: name of the ONNX file.
        data_prefix: begins the names of the data files written with it; None where the images, from a folder
            of the caller's, are not written.
        load_images: from the folder given as `--images`, or None.
        build: the untrained network.
        epochs: over the training images.
        batch_size: images.
        learning_rate: the highest of the cycle.
        weight_decay: of all parameters.
        adaptive: AdamW in place of SGD (arXiv 1711.05101), which LayerNorm wants.
        label_smoothing: the part of a label that is spread over all classes.
        shift: images are moved by up to so many pixels.
        flip: whether half of the images, at random, are mirrored left to right.
        cutout: side in pixels of a square that is blanked somewhere in each image; 0 for none.
        fast: bfloat16, channels last, all cores: several times faster, but then the bytes of the result
            depend on the number of cores.
        seed: of the weights, the order and the augmentation.
    """

    model_file: str
    data_prefix: str | None
    load_images: Callable[[Path | None], Images]
    build: Callable[[], nn.Module]
    epochs: int = 60
    batch_size: int = 50
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    adaptive: bool = False
    label_smoothing: float = 0.1
    shift: int = 1
    flip: bool = False
    cutout: int = 0
    fast: bool = False
    seed: int = 0


def train(recipe: Recipe, images: Images, epochs: int | None = None) -> nn.Module:
    """Train the recipe's network.

    SGD or AdamW, one cycle of the learning rate and of the (Nesterov) momentum, images changed at random.

    Args:
        recipe: what to train and how.
        images: what to train on; only the training part is used.
        epochs: instead of the recipe's.

    Returns:
        The network in evaluation mode, float32.
    """
    with _seeded(recipe.seed, deterministic=not recipe.fast):
        return _train(recipe, images, recipe.epochs if epochs is None else epochs)


def accuracy(network: nn.Module, images: Images) -> float:
    """The fraction of the validation images that the network gets right."""
    with torch.no_grad():
        batches = images.preprocess(images.validation_x).split(500)
        answers = torch.cat([network(batch).argmax(1) for batch in batches]).numpy()
    return float((answers == images.validation_y).mean())


@contextmanager
def _seeded(seed: int, deterministic: bool) -> Iterator[None]:
    """Seed torch and, if asked to, make its arithmetic repeatable; all is as it was afterwards."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if deterministic:
            torch.use_deterministic_algorithms(True)
            torch.set_num_threads(1)  # the order of parallel sums would depend on the machine's cores
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(before)


def _train(recipe: Recipe, images: Images, epochs: int) -> nn.Module:
    layout = torch.channels_last if recipe.fast else torch.contiguous_format
    network = recipe.build().train().to(memory_format=layout)
    inputs, labels = images.preprocess(images.train_x), torch.from_numpy(images.train_y)
    # A shifted image is filled with black, which normalizing has made negative.
    black = images.preprocess(np.zeros_like(images.train_x[:1]))
    optimizer = _optimizer(network, recipe)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=epochs * (len(inputs) // recipe.batch_size),
        pct_start=0.2,
    )
    for _ in range(epochs):
        for batch in _batches(len(inputs), recipe.batch_size):
            changed = _augmented(inputs[batch], black, recipe).contiguous(memory_format=layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.fast):
                logits = network(changed).float()
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.to(memory_format=torch.contiguous_format).eval()


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Its momentum of 0.95 is lowered by the schedule to 0.85 where the learning rate is highest."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.adaptive:
        return torch.optim.AdamW(network.parameters(), rate, betas=(0.95, 0.999), weight_decay=decay)
    return torch.optim.SGD(network.parameters(), rate, momentum=0.95, nesterov=True, weight_decay=decay)


def _batches(samples: int, batch_size: int) -> Iterator[Tensor]:
    """The samples' indices in a random order, in full batches; the rest is left for another epoch."""
    order = torch.randperm(samples)
    for start in range(0, samples - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def _augmented(inputs: Tensor, black: Tensor, recipe: Recipe) -> Tensor:
    """Images (N, C, H, W), each changed at random in the ways that the recipe names."""
    changed = _shifted(inputs, black, recipe.shift)
    if recipe.flip:
        changed = _flipped(changed)
    if recipe.cutout:
        changed = _cut_out(changed, recipe.cutout)
    return changed


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


def _flipped(inputs: Tensor) -> Tensor:
    """Mirror each image left to right, or not."""
    mirrored = torch.rand(len(inputs), 1, 1, 1) < 0.5
    return torch.where(mirrored, inputs.flip(3), inputs)


def _cut_out(inputs: Tensor, side: int) -> Tensor:
    """Set a square of each image to zero, the mean colour; it lies wholly inside (arXiv 1708.04552)."""
    count, _, height, width = inputs.shape
    top = torch.randint(0, height - side + 1, (count, 1, 1, 1))
    left = torch.randint(0, width - side + 1, (count, 1, 1, 1))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return inputs.masked_fill(inside, 0)
