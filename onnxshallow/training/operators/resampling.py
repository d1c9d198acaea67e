"""Pad, Resize and Upsample: along one axis after the other, each output is a weighted sum of a few inputs.

    y[i] = sum over k of w[i, k] x[p[i, k]]

Where those lie is told by ONNX's coordinates: `half_pixel`, `align_corners`, `asymmetric` and others.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onnxshallow.training.operators.call import Call, Operator, Refusal, integers
from onnxshallow.training.operators.shapes import taken

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OPERATORS", "REFUSALS"]

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
_PAD_MODES = ("reflect", "edge", "wrap")


def _pad(
    call: Call, x: "Tensor", pads: "Tensor | None" = None, value: "Tensor | None" = None, axes: "Tensor | None" = None
) -> "Tensor":
    from torch.nn import functional

    sizes = call.axes(pads, "pads") or []
    chosen = [axis % x.dim() for axis in (range(x.dim()) if axes is None else integers(axes))]
    ends = dict(zip(chosen, zip(sizes[: len(chosen)], sizes[len(chosen) :], strict=True), strict=True))
    mode = call.get("mode", "constant")
    if mode == "constant":
        filled = float(call.get("value", 0.0)) if value is None else float(value)
        pairs = [size for axis in reversed(range(x.dim())) for size in ends.get(axis, (0, 0))]
        return functional.pad(x, pairs, value=filled)
    for axis, pair in ends.items():
        if any(pair):
            x = taken(x, axis, np.pad(np.arange(x.shape[axis]), pair, mode=mode))
    return x


def _upsample(call: Call, x: "Tensor", scales: "Tensor | None" = None) -> "Tensor":
    factors = call.get("scales") if scales is None else scales.tolist()
    for axis, factor in enumerate(factors):
        size = int(np.floor(x.shape[axis] * factor))
        x = _along(x, axis, size, factor, call.get("mode", "nearest"), "asymmetric", "floor", -0.75)
    return x


def _resize(
    call: Call,
    x: "Tensor",
    region: "Tensor | None" = None,
    scales: "Tensor | None" = None,
    sizes: "Tensor | None" = None,
) -> "Tensor":
    if call.opset < 11:
        return _upsample(call, x, region)
    stated = call.get("axes")
    chosen = list(range(x.dim())) if stated is None else [int(axis) % x.dim() for axis in stated]
    before = [x.shape[axis] for axis in chosen]
    if sizes is not None and sizes.numel():
        after = integers(sizes)
        factors = [size / own for size, own in zip(after, before, strict=True)]
    elif scales is not None:
        factors = scales.tolist()
        after = [int(np.floor(own * factor)) for own, factor in zip(before, factors, strict=True)]
    else:
        return x
    for axis, size, factor in zip(chosen, after, factors, strict=True):
        x = _along(
            x,
            axis,
            size,
            factor,
            call.get("mode", "nearest"),
            call.get("coordinate_transformation_mode", "half_pixel"),
            call.get("nearest_mode", "round_prefer_floor"),
            float(call.get("cubic_coeff_a", -0.75)),
        )
    return x


def _along(
    x: "Tensor", axis: int, size: int, factor: float, mode: str, coordinates: str, rounding: str, steepness: float
) -> "Tensor":
    """Resize along one axis."""
    import torch

    own = x.shape[axis]
    if own == size and factor == 1:
        return x
    places = _places(own, size, factor, coordinates)
    if mode == "nearest":
        return taken(x, axis, np.clip(_rounded(places, rounding), 0, own - 1))
    low = np.floor(places)
    offsets = (-1, 0, 1, 2) if mode == "cubic" else (0, 1)
    if mode != "cubic":
        places = np.clip(places, 0, own - 1)
        low = np.floor(places)
    made: Tensor | None = None
    for offset, weight in zip(offsets, _weights(places - low, mode, steepness), strict=True):
        spread = torch.from_numpy(weight.astype(np.float32)).to(x.device).reshape(-1, *(1,) * (x.dim() - axis - 1))
        part = spread * taken(x, axis, np.clip(low + offset, 0, own - 1))
        made = part if made is None else made + part
    assert made is not None
    return made


def _places(own: int, size: int, factor: float, coordinates: str) -> NDArray[np.float64]:
    """Where each of `size` outputs lies among `own` inputs."""
    outputs = np.arange(size, dtype=np.float64)
    if coordinates == "asymmetric":
        return outputs / factor
    if coordinates == "align_corners":
        return outputs * (own - 1) / max(size - 1, 1)
    if coordinates == "pytorch_half_pixel" and size == 1:
        return np.zeros(1)
    places: NDArray[np.float64] = (outputs + 0.5) / factor - 0.5
    if coordinates == "half_pixel_symmetric":
        places = places + own / 2 * (1 - size / (factor * own))
    return places


def _rounded(places: NDArray[np.float64], rounding: str) -> NDArray[np.float64]:
    rounded: dict[str, NDArray[np.float64]] = {
        "floor": np.floor(places),
        "ceil": np.ceil(places),
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
    }
    return rounded[rounding]


def _weights(part: NDArray[np.float64], mode: str, a: float) -> Sequence[NDArray[np.float64]]:
    """What the inputs around a place count, the first first; `part` is how far it lies behind the one before it.

    Cubic weights are those of R. Keys, *Cubic convolution interpolation for digital image processing*, 1981.
    """
    if mode != "cubic":
        return 1 - part, part

    def near(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1

    def far(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a

    return far(1 + part), near(part), near(1 - part), far(2 - part)


def _refused_resize(call: Call) -> str | None:
    coordinates = call.get("coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        return f"by {coordinates}"
    others = ("antialias", "exclude_outside")
    named = next((name for name in others if call.get(name, 0)), None)
    if named is None and call.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        named = "keep_aspect_ratio_policy"
    return None if named is None else f"with {named}"


def _refused_pad(call: Call) -> str | None:
    mode = call.get("mode", "constant")
    return None if mode == "constant" or mode in _PAD_MODES else f"in the mode {mode}"


OPERATORS: Mapping[str, Operator] = {"Pad": _pad, "Resize": _resize, "Upsample": _upsample}
"""By type."""

REFUSALS: Mapping[str, Refusal] = {"Pad": _refused_pad, "Resize": _refused_resize}
"""What is not known of them, by type."""
