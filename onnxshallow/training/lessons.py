"""What the student is told: how far its outputs are from the teacher's.

    loss = sum over outputs of mean over samples of r(mean (s - t)^2 / mean (t - mean t)^2)
    r(e) = e up to 1, and 1 + ln e beyond

The student is the optimized network, the teacher the original. Outputs are compared before a final Softmax or
Sigmoid, where both networks end in one: logits still differ where probabilities are all but 0 and 1. Squared errors
of logits taught as much as divergences did (docs/decisions/training.md), and they serve outputs that are no classes,
too. Each output is scaled by how much it varies, so that none of several drowns the others; and where a student with
squares says 1e11 to one sample, that drowns no others either.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onnxshallow.model.network import Network

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["UNKNOWN", "compared_tensors", "error", "labelled_error", "spread"]

UNKNOWN = -100
"""The label of a sample that has none; torch knows it by this number."""

_ENDS = ("LogSoftmax", "Sigmoid", "Softmax")


def compared_tensors(teacher: Network, student: Network) -> tuple[tuple[str, str], ...]:
    """The tensors that are compared, of the teacher and of the student, for each output of floats."""
    found = []
    for name in teacher.output_names:
        dtype = teacher.dtype(name)
        if dtype is not None and dtype.kind == "f":
            before = [_before_the_end(network, name) for network in (teacher, student)]
            found.append((name, name) if None in before else (str(before[0]), str(before[1])))
    return tuple(found)


def _before_the_end(network: Network, output: str) -> str | None:
    """What a final Softmax or the like reads to make an output; None where there is no such end."""
    node = network.producer(output)
    return node.inputs[0] if node is not None and node.is_op(*_ENDS) else None


def spread(values: "Sequence[Tensor]") -> float:
    """How much an output varies: the mean square of its distance from its mean over the samples; never zero.

    Args:
        values: the output (N, ...) batch by batch.
    """
    import torch

    joined = torch.cat(list(values)).double()
    return float((joined - joined.mean(dim=0, keepdim=True)).square().mean().clamp(min=1e-12))


def error(
    pairs: Sequence[tuple[str, str]],
    taught: "Mapping[str, Tensor]",
    learned: "Mapping[str, Tensor]",
    spreads: Sequence[float],
    stopped: "Tensor | None" = None,
) -> "Tensor":
    """The loss of one batch.

    Args:
        pairs: names of the tensors, see `compared_tensors`.
        taught: the teacher's, by name.
        learned: the student's.
        spreads: how much each varies.
        stopped: samples (N,) of which nothing is to be learned; None for none.
    """
    parts = [
        _tempered(_by_sample((learned[own].float() - taught[target].float()).square()) / scale)
        for (target, own), scale in zip(pairs, spreads, strict=True)
    ]
    parts = [_mean(part, stopped) for part in parts]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _by_sample(values: "Tensor") -> "Tensor":
    """The mean of each sample (N,); a single number as it is."""
    return values.flatten(1).mean(dim=1) if values.dim() > 1 else values


def _mean(errors: "Tensor", stopped: "Tensor | None") -> "Tensor":
    """The mean over the samples, those that were stopped as if they were right."""
    if stopped is None or errors.shape != stopped.shape:
        return errors.mean()
    return errors.masked_fill(stopped, 0).mean()


def _tempered(errors: "Tensor") -> "Tensor":
    return errors.clamp(max=1.0) + errors.clamp(min=1.0).log()


def labelled_error(scores: "Tensor", labels: NDArray[np.int64]) -> "Tensor":
    """The mean cross-entropy of the labels of samples that have one.

    Args:
        scores: (N, K) of the student, before a Softmax.
        labels: (N,) from 0 to below K, or `UNKNOWN`.
    """
    import torch
    from torch.nn import functional

    return functional.cross_entropy(scores.float(), torch.from_numpy(labels).to(scores.device))
