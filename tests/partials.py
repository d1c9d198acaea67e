"""Partial activations to test with, and models that hold them in the intermediate form."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest

from onnxshallow.actions.partial import write_partial
from onnxshallow.analysis import Analysis, Site, analyze
from onnxshallow.analysis.partial import Partial
from onnxshallow.fitting import correction
from onnxshallow.model.editor import GraphEditor
from onnxshallow.runtime.cursor import Cursor

__all__ = ["intermediate", "partial", "random_partial", "steep", "with_partial"]

_NAMES = ("act", "kept", "square", "linear", "constant", "zz", "first", "second", "sum", "made")


def partial(
    source: str,
    output: str,
    kept: Sequence[int] | np.ndarray,
    *,
    square: object = 0.0,
    linear: object = 0.0,
    constant: object = 0.0,
) -> Partial:
    """A partial activation that keeps the elements with a one in `kept`; numbers are for all others."""
    mask = np.asarray(kept, dtype=bool)
    values = (np.where(mask, 0.0, np.broadcast_to(value, mask.shape)) for value in (square, linear, constant))
    return Partial(source, output, mask, *values)


def random_partial(random: np.random.Generator, site: Site, spatial: Sequence[int] = ()) -> Partial:
    """A partial activation of a site, of single places where their sizes are given."""
    shape = (site.channels, *spatial)
    kept = random.random(shape) < random.choice([0.0, 0.3, 0.5, 0.8])
    linear, constant = random.uniform(0.2, 0.8, shape), random.normal(size=shape) * 0.3
    square = np.where(random.random(shape) < 0.5, random.uniform(0.05, 0.3, shape), 0.0)
    if spatial or random.random() < 0.3:
        square = np.zeros(shape)
    off = random.random(shape) < random.choice([0.0, 0.3, 1.0])
    square, linear, constant = (np.where(off, 0.0, values) for values in (square, linear, constant))
    return partial(site.source, site.output, kept, square=square, linear=linear, constant=constant)


def intermediate(
    model: onnx.ModelProto, partials: Sequence[Partial], shapes: Mapping[str, Sequence[int]] | None = None
) -> Analysis:
    """An analysis of `model` with partial activations in the form that fits are made on."""
    sites = {site.output: site for site in analyze(model, shapes).sites}
    editor = GraphEditor(model)
    for each in partials:
        site = sites[each.output]
        assert site.dtype is not None
        write_partial(editor, each, name=site.name, dtype=site.dtype, rank=site.rank)
    return analyze(editor.finish(), shapes)


def steep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the parabolas of fitted partial activations come out far too steep."""
    fit = correction.fit_polynomials

    def spoilt(original: Cursor, rewritten: Cursor, fitted: Partial, fit_batches: int) -> Partial:
        found = fit(original, rewritten, fitted, fit_batches)
        rewritten.partials[fitted.output] = found = replace(found, square=1e5 * found.square)
        return found

    monkeypatch.setattr(correction, "fit_polynomials", spoilt)


def with_partial(
    model: onnx.ModelProto,
    site: Site,
    kept: np.ndarray,
    *,
    square: np.ndarray,
    linear: np.ndarray,
    constant: np.ndarray,
) -> onnx.ModelProto:
    """A copy of `model` in which a site activates what is kept, and makes the others by a polynomial of its input.

    Args:
        model: a model of opset 9 or later.
        site: one of its sites.
        kept: (C,) or (C, *spatial).
        square: like `kept`, as for the following.
        linear: coefficients.
        constant: coefficients.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    position, node = next((i, n) for i, n in enumerate(result.graph.node) if site.output in n.output)
    names = {part: f"{site.output}//{part}" for part in _NAMES}
    node.output[0] = names["act"]
    shape = (1, *kept.shape, *(1,) * (site.rank + 1 - kept.ndim))
    values = {"kept": kept, "square": square, "linear": linear, "constant": constant}
    for name, value in values.items():
        array = value.reshape(shape).astype(bool if name == "kept" else site.dtype)
        result.graph.initializer.append(onnx.numpy_helper.from_array(array, names[name]))
    steps = [
        ("Mul", [site.source, site.source], "zz"),
        ("Mul", [names["zz"], names["square"]], "first"),
        ("Mul", [site.source, names["linear"]], "second"),
        ("Add", [names["first"], names["second"]], "sum"),
        ("Add", [names["sum"], names["constant"]], "made"),
    ]
    nodes = [onnx.helper.make_node(op, reads, [names[made]]) for op, reads, made in steps]
    nodes.append(onnx.helper.make_node("Where", [names["kept"], names["act"], names["made"]], [site.output]))
    following = [*nodes, *list(result.graph.node)[position + 1 :]]
    del result.graph.node[position + 1 :]
    result.graph.node.extend(following)
    return result
