"""What outputs mean where the user does not say: a guess from names, shapes, what computes them, and labels.

The rules, in their order, and why: docs/decisions/what-outputs-mean.md. Where nothing speaks for a kind an output is
`regression`, whose relative error hides nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxshallow.data.prepare import labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.errors import UsageError
from onnxshallow.model.network import Network
from onnxshallow.options.forms import Kind
from onnxshallow.runtime.whole import run_batches
from onnxshallow.validation.ends import End, find_end
from onnxshallow.validation.kinds import OutputKind, class_places
from onnxshallow.validation.metrics import top_k_correct
from onnxshallow.validation.statistics import beats_chance

__all__ = ["LabelledOutputs", "find_kinds", "kinds_of_arrays", "labelled_outputs"]

LabelledOutputs = tuple[Sequence[NDArray[Any]], NDArray[np.int64]]
"""Outputs on some samples, (N, ...) each, and the labels of these."""

_ENOUGH = 256
"""So many samples with labels tell whether these fit an output."""

_LONGEST_CODE = 256
"""More places than this are no characters but the anchors of a detector."""

_LANDMARKS = 10
"""Numbers of five points, as detectors of faces give them beside a softmax."""


_ASKED = "as --output-kind says"


def _words(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{'|'.join(words)})(?![a-z])")


_BOX = _words("b?box(?:es)?", "locs?", "locations?", "offsets?", "rois?", "rects?")
_LANDMARK = _words("landmarks?", "landms?", "points?", "pts", "keypoints?", "kps")
_MASK = _words("masks?", "segm?", "segmentations?", "mattes?", "alphas?")
_EMBEDDING = _words("emb", "embeds?", "embeddings?", "feats?", "features?", "descriptors?")
_CLASS = _words("logits?", "class(?:es)?", "cls", "probs?", "probabilit(?:y|ies)", "scores?", "softmax", "labels?")


@dataclass(frozen=True)
class _Output:
    """What is known of an output.

    Attributes:
        name: of it.
        shape: its sizes, None for those that are not known; None where even the rank is not.
        floating: whether it holds floats.
        end: what computes it.
        inside: whether the network goes on from it.
    """

    name: str
    shape: tuple[int | None, ...] | None
    floating: bool
    end: End
    inside: bool = False

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """Sizes of one sample, without ones at the end: (N, K, 1, 1) is as good as (N, K)."""
        sizes = list((self.shape or ())[1:])
        while sizes and sizes[-1] == 1:
            sizes.pop()
        return tuple(sizes)

    def called(self, words: re.Pattern[str]) -> bool:
        """Whether its name holds one of some words."""
        split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name)
        return words.search(split.lower()) is not None


def find_kinds(
    network: Network,
    asked: Mapping[str, Kind] | None = None,
    labelled: Callable[[], LabelledOutputs | None] = lambda: None,
) -> tuple[OutputKind, ...]:
    """What each output of a network means.

    Args:
        network: the original.
        asked: kinds that the user gave, by output name.
        labelled: gives what `labelled_outputs` does; asked only where nothing else says what an output means.

    Raises:
        UsageError: the user names an output that the network does not have.
    """
    names = network.output_names
    if unknown := sorted(set(asked or {}) - set(names)):
        known = ", ".join(map(repr, names))
        raise UsageError(
            f"--output-kind names {unknown[0]!r}, but the model's outputs are: {known}. Use one of these."
        )
    outputs = [_output(network, name) for name in names]
    return _fitted(_guessed(outputs, asked or {}), labelled)


def _output(network: Network, name: str) -> _Output:
    dtype = network.dtype(name)
    floating = dtype is None or np.issubdtype(dtype, np.floating)
    end = find_end(network, name)
    inside = end.operation != "ranked" and bool(network.consumers(name))
    return _Output(name, network.shape(name), floating, end, inside)


def labelled_outputs(
    model: onnx.ModelProto, samples: Samples, batch: int, *, whole: bool = False, threads: int = 0
) -> LabelledOutputs | None:
    """A model's outputs on samples with labels, some of all parts of their source, and these labels.

    Args:
        model: the original.
        samples: of validation, as labels of calibration samples decide nothing.
        batch: samples a batch.
        whole: whether the model runs on full batches only.
        threads: of onnxruntime.

    Returns:
        The outputs, (N, ...) each, and labels; None where there are no labels, or too few samples for a batch.
    """
    if samples.labels is None:
        return None
    part = samples.take(np.linspace(0, len(samples) - 1, min(len(samples), _ENOUGH)).astype(np.intp))
    batches = list(labelled_batches(part, batch, whole=whole))
    labels = [own for _, own in batches if own is not None]
    return (run_batches(model, [feeds for feeds, _ in batches], threads), np.concatenate(labels)) if labels else None


def kinds_of_arrays(names: Sequence[str], outputs: Sequence[NDArray[Any]], samples: int) -> tuple[OutputKind, ...]:
    """What outputs mean of which only the arrays are known.

    Args:
        names: of the outputs.
        outputs: for one batch.
        samples: how many samples it has; an output of another length is not one value a sample.
    """
    found = []
    for name, array in zip(names, outputs, strict=True):
        shape = array.shape if array.shape[:1] == (samples,) else None
        found.append(_Output(name, shape, np.issubdtype(array.dtype, np.floating), End()))
    return tuple(_guessed(found, {}))


def _guessed(outputs: Sequence[_Output], asked: Mapping[str, Kind]) -> list[OutputKind]:
    return [
        _asked_for(output, asked[output.name]) if output.name in asked else _guess(output, outputs)
        for output in outputs
    ]


def _asked_for(output: _Output, kind: Kind) -> OutputKind:
    """A kind that the user gave; the axis of its classes is the softmax's, else the usual one."""
    if output.end.operation in ("softmax", "ranked"):
        return OutputKind(output.name, kind, _ASKED, output.end.axis, output.end.widths)
    return OutputKind(output.name, kind, _ASKED, _usual_axis(output, kind))


def _usual_axis(output: _Output, kind: Kind) -> int:
    """Where classes lie: last in a sequence, and after the samples in a map, whose channels may be left out."""
    axes = len(output.sizes)
    if kind == "mask":
        return 1 if axes > 2 else axes + 1
    return 2 if axes == 2 else 1


def _guess(output: _Output, outputs: Sequence[_Output]) -> OutputKind:
    """The first rule that speaks of an output."""
    name, sizes, end = output.name, output.sizes, output.end
    if not output.floating:
        return _whole_numbers(output)
    if output.shape is None:
        return OutputKind(name, "regression", "its shape is not known", doubtful=True)
    if end.operation in ("softmax", "ranked") and (found := _classes(output, outputs)) is not None:
        return found
    if end.operation == "topk":
        return OutputKind(name, "scores", "the largest of other numbers, in their order")
    if not sizes:
        sure = end.operation == "sigmoid"
        return OutputKind(name, "scores" if sure else "regression", "a sigmoid at the end" if sure else "one number")
    if end.operation == "l2":
        return OutputKind(name, "embedding", "vectors are brought to length one at the end")
    return _by_name(output) or _beside_others(output, outputs) or _alone(output, outputs)


def _whole_numbers(output: _Output) -> OutputKind:
    if output.end.operation != "argmax":
        return OutputKind(output.name, "regression", "whole numbers")
    kind: Kind = "mask" if len(output.sizes) > 1 else "classes"
    return OutputKind(output.name, kind, "an ArgMax at the end")


def _classes(output: _Output, outputs: Sequence[_Output]) -> OutputKind | None:
    """Classes, masks or the anchors of a detector; None where there is a single number to choose from."""
    sizes, axis = output.sizes, output.end.axis
    if axis == 0 or axis > len(sizes):
        return None
    places = int(np.prod([size or 1 for index, size in enumerate(sizes, 1) if index != axis], dtype=np.int64))
    reason = "a softmax at the end" if output.end.operation == "softmax" else "the network looks for its largest"
    if len(sizes) > 2:
        return OutputKind(output.name, "mask", f"{reason}, for each pixel", axis)
    if len(sizes) == 2 and (places > _LONGEST_CODE or _has_boxes(places, output, outputs)):
        return OutputKind(output.name, "scores", f"{reason}, for each of {places} boxes", axis)
    if len(output.end.widths) > 1:
        reason = f"{len(output.end.widths)} softmaxes at the end"
    elif len(sizes) == 2:
        reason += f", for each of {places} places"
    return OutputKind(output.name, "classes", reason, axis, output.end.widths)


def _has_boxes(places: int, output: _Output, outputs: Sequence[_Output]) -> bool:
    return any(
        len(other.sizes) == 2 and other.sizes[0] == places and other.sizes[1] in (4, _LANDMARKS)
        for other in outputs
        if other is not output
    )


def _by_name(output: _Output) -> OutputKind | None:
    """What its name says, where its shape allows it."""
    name, sizes = output.name, output.sizes
    reason = "its name says so"
    if output.called(_LANDMARK):
        return OutputKind(name, "regression", "its name speaks of points")
    if output.called(_BOX) and any(size is not None and size % 4 == 0 for size in (sizes[0], sizes[-1])):
        return OutputKind(name, "boxes", reason)
    if output.called(_MASK) and len(sizes) > 1:
        return OutputKind(name, "mask", reason, _usual_axis(output, "mask"))
    if output.called(_EMBEDDING) and len(sizes) == 1:
        return OutputKind(name, "embedding", reason)
    if output.called(_CLASS) and output.end.operation != "sigmoid":
        if len(sizes) == 1:
            return OutputKind(name, "classes", reason)
        if len(sizes) == 2:
            return OutputKind(name, "scores", reason)
    return None


def _beside_others(output: _Output, outputs: Sequence[_Output]) -> OutputKind | None:
    """What detectors give beside their classes: four numbers for a box, ten for five points."""
    sizes = output.sizes
    beside = any(other.end.operation in ("softmax", "sigmoid") for other in outputs if other is not output)
    if not beside or len(sizes) > 3:
        return None
    numbers = sizes[-1] if len(sizes) == 2 else sizes[0]
    if numbers == 4:
        return OutputKind(output.name, "boxes", "four numbers beside class scores")
    if numbers == _LANDMARKS:
        return OutputKind(output.name, "regression", "ten numbers, as of five points, beside class scores")
    return None


def _alone(output: _Output, outputs: Sequence[_Output]) -> OutputKind:
    """What is left: one row of numbers that is all a network ends in is that of its classes."""
    sizes, end = output.sizes, output.end
    if end.operation == "sigmoid" and len(sizes) < 3:
        return OutputKind(output.name, "scores", "a sigmoid at the end")
    if len(sizes) == 1 and end.operation == "batchnorm":
        return OutputKind(output.name, "embedding", "a normalization at the end")
    if output.inside:
        return OutputKind(output.name, "regression", "the network goes on from it")
    ends = [other for other in outputs if other.floating and other.shape is not None and not other.inside]
    if len(sizes) == 1 and len(ends) == 1:
        return OutputKind(output.name, "classes", f"the only output at an end, {sizes[0] or 'some'} numbers a sample")
    if len(sizes) == 3:
        return OutputKind(output.name, "regression", "an image, or a map of features")
    return OutputKind(output.name, "regression", "nothing speaks for another kind", doubtful=True)


def _fitted(kinds: Sequence[OutputKind], labelled: Callable[[], LabelledOutputs | None]) -> tuple[OutputKind, ...]:
    """The same, with outputs that labels fit as classes, where nothing else says what they are."""
    known = labelled() if any(kind.doubtful for kind in kinds) else None
    if known is None:
        return tuple(kinds)
    outputs, labels = known
    return tuple(
        _fit(kind, output, labels) if kind.doubtful else kind for kind, output in zip(kinds, outputs, strict=True)
    )


def _fit(kind: OutputKind, output: NDArray[Any], labels: NDArray[np.int64]) -> OutputKind:
    classes = replace(kind, kind="classes", doubtful=False)
    places = class_places(classes, output, output, len(labels))
    if labels.ndim != 1 or len(places) != 1 or not 0 <= labels.min() <= labels.max() < places[0].first.shape[1]:
        return kind
    right = top_k_correct(places[0].first, labels, 1)
    if not beats_chance(right, labels, places[0].first.shape[1]):
        return kind
    return replace(classes, reason=f"the labels fit it: {100 * right.mean():.0f} % of {len(labels)} are right")
