"""Keep a part of an activation: y = act(z) on the channels that need it most, a polynomial on the others.

While layers are fitted, the network computes

    z -> act -------------------------------> Where(kept, act(z), polynomial) -> y
    z -> Mul(square), Add(linear), Mul(z), Add(constant)

with its channels in their order, so that tensors can be compared with the original's. An affine polynomial costs
nothing where what comes before can make it:

    Layer -> act            those rows of the layer make a z + b
    Add -> act              a layer that feeds the sum and a scale on its other side are fitted to make it

`onnxshallow.rewriting.lowering.lower` then writes what saves work.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxshallow.actions.base import Candidate, FindOptions, Found, Kind, Rewrite
from onnxshallow.actions.folding import feeding_layer, fold, folding_layer, scaled_sum
from onnxshallow.analysis import Analysis, NotLinearError, Site
from onnxshallow.analysis.partial import Bounds, Partial
from onnxshallow.fitting.moments import Parabola
from onnxshallow.model.editor import GraphEditor

__all__ = [
    "InPart",
    "found_in_part",
    "keep_in_part",
    "mask_refusal",
    "partial_candidates",
    "partly_refused",
    "write_partial",
]

# Pixel masks that a plan written by hand may ask for keep so many parts of the elements.
_PARTS = 64


@dataclass(frozen=True, kw_only=True)
class InPart(Candidate):
    """A site of which a part stays.

    Attributes:
        kept: channels, or elements of a sample, that keep their activation; 0 where none does.
        pixels: whether elements are kept, and not whole channels.
    """

    kind: ClassVar[Kind] = "partial"

    kept: int
    pixels: bool = False

    @property
    def what(self) -> str:
        """What stays, and what stands in the place of the rest."""
        form = "quadratic" if self.squares else "affine map"
        if self.whole:
            return f"replaced by the least-squares {form} of its channels"
        return f"keeps the activation of {self._counted}; the others are replaced by their least-squares {form}s"

    @property
    def short(self) -> str:
        """What stays, and what stands in the place of the rest."""
        form = "quadratic" if self.squares else "affine"
        if self.whole:
            return f"removed: {'a' if self.squares else 'an'} {form} map"
        return f"{self._counted} kept, the others {form}"

    @property
    def title(self) -> str:
        """The action, and how much stays."""
        return self.action if self.whole else f"{self.action}, keeps {f'{self.kept:,}'.replace(',', ' ')}"

    @property
    def _unit(self) -> str:
        return "elements" if self.pixels else "channels"

    @property
    def _counted(self) -> str:
        return f"{self.kept} {self._unit.removesuffix('s') if self.kept == 1 else self._unit}"

    @property
    def reported(self) -> dict[str, Any]:
        """How many of what stay."""
        return {"kept": self.kept, "kept_unit": self._unit}

    @property
    def label(self) -> str:
        """How much stays."""
        return f":kept{self.kept}{'pixels' * self.pixels}"

    @property
    def capacity(self) -> float:
        """The fewer activations go, the larger."""
        return 1.0 / self.relus

    def power(self, measured: Candidate) -> float:
        """Damage falls fast with the activations that go, and grows slowly."""
        return 2.0 if self.relus < measured.relus else 1.0

    @property
    def whole(self) -> bool:
        """Whether no element stays."""
        return not self.kept

    @property
    def by_element(self) -> bool:
        """Whether elements of a channel are told apart."""
        return self.pixels


def partly_refused(analysis: Analysis, site: Site, pixels: bool) -> str | None:
    """Why a part of a site cannot be kept; None where it can."""
    if site.refusal is not None:
        return site.refusal
    if site.channels <= 1:
        return "it has one channel only"
    if analysis.network.opset < 9:
        return f"opset {analysis.network.opset} is older than 9; convert the model with onnx.version_converter first"
    if pixels and not analysis.network.has_fixed_sizes:
        return "pixels need inputs of fixed height and width; export the model so, or use --granularity channel"
    shape = analysis.network.full_shape(site.output)
    if pixels and (shape is None or analysis.network.per_sample(shape[0]) != 1):
        return "its first axis holds more than the samples; use --granularity channel"
    return mask_refusal(analysis, site)


def mask_refusal(analysis: Analysis, site: Site) -> str | None:
    """Why a site that can be removed cannot be written in part; None where it can."""
    if site.kind == "prelu" and analysis.network.constant(analysis.network.nodes[site.node].inputs[1]) is None:
        return "its slope is no constant; make it an initializer that callers may not override"
    return None


def partial_candidates(
    name: str,
    analysis: Analysis,
    site: Site,
    options: FindOptions,
    counts: Sequence[int],
    *,
    pixels: bool = False,
    squares: bool = False,
) -> list[InPart]:
    """The candidates of one site that save something.

    Where a PRelu lets elements pass already, those that are kept may all be others.

    Args:
        name: the action's name.
        analysis: of the network.
        site: the activation.
        options: of the search.
        counts: how many channels are kept; with pixel masks how many elements.
        pixels: whether elements are kept, and not whole channels.
        squares: whether what is not kept may be squared.
    """
    elements = site.size or 0
    shape = analysis.network.full_shape(site.output) or ()
    area = 1 if pixels else analysis.network.per_sample(math.prod(shape) // site.channels)
    whole = elements if pixels else site.channels
    if options.every_size:
        counts = [*counts, *range(0, whole, max(1, whole // _PARTS) if pixels else 1)]
    found = []
    for kept in sorted({count for count in counts if 0 <= count < whole and count * area < elements}):
        gone = elements - kept * area
        found.append(
            InPart(
                action=name,
                sites=(site.name,),
                source=site.source,
                output=site.output,
                relus=gone,
                nodes=frozenset({site.node}),
                kept=kept,
                pixels=pixels,
                squares=(site.channels - kept) * area if squares else 0,
            )
        )
    return found


def found_in_part(
    sites: Sequence[Site], reasons: Mapping[str, str | None], candidates: Callable[[Site], Sequence[Candidate]]
) -> Found:
    """What `candidates` makes of the sites that have no reason to be refused."""
    found = [candidate for site in sites if reasons[site.name] is None for candidate in candidates(site)]
    return Found(tuple(found), {name: reason for name, reason in reasons.items() if reason is not None})


def keep_in_part(
    editor: GraphEditor,
    analysis: Analysis,
    site: Site,
    kept: NDArray[np.bool_],
    curve: Parabola,
    bounds: Bounds | None = None,
) -> Rewrite:
    """Let `site` activate some of its elements only.

    Args:
        editor: the graph under edit.
        analysis: of the graph as it is now.
        site: the activation.
        kept: (C,) or (C, *spatial), which elements keep it.
        curve: like `kept`, what the others become.
        bounds: what parabolas have to stay within.

    Raises:
        NotLinearError: the site's element type is not known.
    """
    if site.dtype is None:
        raise NotLinearError(f"the element type of {site.name!r} is not known")
    square, linear, constant = (
        np.where(kept, 0.0, values) for values in (curve.square, curve.linear, curve.constant)
    )
    straight = ~kept & (square == 0)
    layer, fed_by = folding_layer(analysis, site), feeding_layer(analysis, site)
    fit: tuple[str, ...] = ()
    if kept.ndim == 1 and layer is not None:
        scale, shift = np.where(straight, linear, 1.0), np.where(straight, constant, 0.0)
        fold(editor, analysis, layer, scale, shift, site.source)
        fit = (site.source,)
    elif kept.ndim == 1 and fed_by is not None:
        if straight.any():
            scaled_sum(editor, analysis, site, fed_by, site.source)
        fit = (fed_by.output,)
    if fit:
        linear, constant = np.where(straight, 1.0, linear), np.where(straight, 0.0, constant)
    partial = Partial(site.source, site.output, kept, square, linear, constant, bounds)
    write_partial(editor, partial, name=site.name, dtype=site.dtype, rank=site.rank)
    return Rewrite(fit=fit, partials=(partial,))


def write_partial(editor: GraphEditor, partial: Partial, *, name: str, dtype: np.dtype, rank: int) -> None:
    """Let the activation that makes `partial.output` do so for the elements that keep it only.

    The activation stays as it is but for the name of the tensor that it makes.

    Args:
        editor: the graph under edit.
        partial: what to write.
        name: the stem of the new names.
        dtype: element type of the tensors.
        rank: number of spatial axes.
    """
    tensor = editor.tensor(partial.output)
    (activation,) = tensor.inputs
    activation.outputs = [gs.Variable(editor.fresh(f"{name}_active"), dtype)]
    shape = (1, *partial.kept.shape, *(1,) * (rank + 1 - partial.kept.ndim))
    source = editor.tensor(partial.source)
    nodes = [] if partial.is_plain else list(_polynomial(editor, partial, source, name, dtype, shape))
    other = nodes[-1].outputs[0] if nodes else source
    kept = editor.constant(f"{name}.kept", partial.kept.reshape(shape))
    inputs = [kept, *activation.outputs, other]
    nodes.append(gs.Node("Where", editor.fresh_node(f"{name}/partial"), {}, inputs, [tensor]))
    place = next(index for index, node in enumerate(editor.graph.nodes) if node is activation)
    editor.graph.nodes[place + 1 : place + 1] = nodes


def _polynomial(
    editor: GraphEditor, partial: Partial, source: gs.Tensor, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> Iterator[gs.Node]:
    """(square * z + linear) * z + constant."""
    square, linear, constant = (
        editor.constant(f"{name}.{what}", getattr(partial, what).reshape(shape).astype(dtype))
        for what in ("square", "linear", "constant")
    )
    slope = linear
    if np.any(partial.square):
        steep, tilted = (gs.Variable(editor.fresh(f"{name}_{what}"), dtype) for what in ("steep", "tilted"))
        yield gs.Node("Mul", editor.fresh_node(f"{name}/steep"), {}, [source, square], [steep])
        yield gs.Node("Add", editor.fresh_node(f"{name}/tilted"), {}, [steep, linear], [tilted])
        slope = tilted
    product, made = (gs.Variable(editor.fresh(f"{name}_{what}"), dtype) for what in ("product", "polynomial"))
    yield gs.Node("Mul", editor.fresh_node(f"{name}/product"), {}, [source, slope], [product])
    yield gs.Node("Add", editor.fresh_node(f"{name}/polynomial"), {}, [product, constant], [made])
