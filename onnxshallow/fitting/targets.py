"""What a layer of the rewritten network should make: the original's tensor of the same name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxshallow.analysis import Layer, Layers
from onnxshallow.analysis.partial import Partial
from onnxshallow.analysis.sites import rectifier_bound
from onnxshallow.convolution import form_of
from onnxshallow.fitting.rectifier import Curves, Rectifier
from onnxshallow.model.network import Network

__all__ = ["Target", "find_target", "rectifier_after", "scalable_side"]


@dataclass(frozen=True)
class Target:
    """What a layer's output is fitted to.

    Attributes:
        tensor: the original's tensor.
        minus: the rewritten network's tensor to subtract from it, or None.
        through: where the layer is the first of those that one was split into, the others.
        partial: what reads the tensor, where an activation is kept in part.
        dead: which channels hold zeros from now on, (C,); None for none.
    """

    tensor: str
    minus: str | None = None
    through: tuple[Layer, ...] = ()
    partial: Partial | None = None
    dead: NDArray[np.bool_] | None = None

    @property
    def originals(self) -> list[str]:
        """The original's tensors: where elements pass the activation by, what it makes of them as well."""
        return [self.tensor] if self.partial is None else [self.tensor, self.partial.output]


def find_target(original: Network, rewritten: Network, layers: Layers, layer: Layer) -> Target | None:
    """What `layer` of the rewritten network is fitted to; None where the original has nothing to compare with."""
    if rewritten.is_private(layer.output):
        (reader,) = rewritten.consumers(layer.output)
        if reader.is_op("Add", "Sum") and len(reader.inputs) == 2:
            total = reader.outputs[0]
            (other,) = (name for name in reader.inputs if name != layer.output)
            if _exists(original, total) and _is_computed(rewritten, other):
                alike = all(_same_shape(rewritten, name, total) for name in (layer.output, other))
                if alike and _known_before(rewritten, layers, other, layer):
                    return Target(total, other)
    if _exists(original, layer.output):
        return Target(layer.output)
    others = _other_parts(rewritten, layers, layer)
    target = find_target(original, rewritten, layers, others[-1]) if others else None
    return None if target is None else replace(target, through=others)


def _other_parts(network: Network, layers: Layers, layer: Layer) -> tuple[Layer, ...]:
    """The layers after `layer`, if all of them may be what one was split into; () where they are not."""
    parts = [layer]
    while len(parts) < 3 and (after := _only_reader(network, layers, parts[-1])) is not None:
        parts.append(after)
        groups = [layers.groups(part) for part in parts]
        fit_a_split = groups[1:] == [1] if len(parts) == 2 else groups == [1, parts[1].weight_shape[0], 1]
        if fit_a_split and form_of(*map(layers.geometry, parts)) is not None:
            return tuple(parts[1:])
    return ()


def _only_reader(network: Network, layers: Layers, layer: Layer) -> Layer | None:
    """The layer that alone reads `layer`, where both mix channels or pixels."""
    readers = layers.sources.get(layer.output, ())
    if len(readers) != 1 or layer.kind == "affine" or not network.is_private(layer.output):
        return None
    (reader,) = readers
    return None if reader.kind == "affine" else reader


def _is_computed(network: Network, tensor: str) -> bool:
    """Whether `tensor` depends on the samples; a weight does not, even if the caller may override it."""
    return not network.is_constant(tensor) and network.initializer(tensor) is None


def _exists(network: Network, tensor: str) -> bool:
    return network.producer(tensor) is not None


def _same_shape(network: Network, first: str, second: str) -> bool:
    shape = network.shape(first)
    return shape is not None and shape == network.shape(second)


def _known_before(network: Network, layers: Layers, tensor: str, layer: Layer) -> bool:
    """Whether `tensor` does not depend on `layer` or on a layer that comes after it."""
    ancestors = network.ancestors([tensor])
    return not any(later.main in ancestors for later in layers if later.main >= layer.main and later.kind != "affine")


def scalable_side(network: Network, layers: Layers, target: Target, chosen: Sequence[Layer]) -> Layer | None:
    """The layer on the other side of a residual sum whose output may be scaled, as nothing else reads it."""
    side = None if target.minus is None else layers.by_output.get(target.minus)
    if side is None or not network.is_private(side.output):
        return None
    return side if side.kind == "affine" or side in chosen else None


def rectifier_after(original: Network, rewritten: Network, target: Target, groups: int) -> Rectifier | None:
    """The ReLU or Clip that alone reads the target in both networks, if one does.

    Args:
        original: the original network.
        rewritten: the rewritten one.
        target: of a layer.
        groups: of that layer.
    """
    tensor = target.tensor
    if not original.is_private(tensor):
        return None
    if target.partial is not None:
        bound = rectifier_bound(original, original.consumers(tensor)[0])
        return None if bound is None else _partly(Rectifier(bound), target.partial, groups)
    if not rewritten.is_private(tensor):
        return None
    upper = rectifier_bound(rewritten, rewritten.consumers(tensor)[0])
    same = rectifier_bound(original, original.consumers(tensor)[0])
    return Rectifier(upper) if upper is not None and upper == same else None


def _partly(rectifier: Rectifier, partial: Partial, groups: int) -> Rectifier | None:
    """The rectifier of the channels that keep it or became parabolas; None where elements of one channel differ."""
    if partial.kept.ndim > 1:
        return None
    kept, squared = (which.reshape(groups, 1, -1) for which in (partial.kept, partial.squared))
    rectified = kept | squared
    upper = np.where(rectified, rectifier.upper, np.inf).astype(np.float32)
    lower = np.where(rectified, rectifier.lower, -np.inf).astype(np.float32)
    coefficients = (partial.square, partial.linear, partial.constant)
    curves = Curves(squared, *(values.reshape(groups, 1, -1).astype(np.float32) for values in coefficients))
    return Rectifier(upper, lower, curves if squared.any() else None)
