"""Melt a linear region into one convolution.

    Conv -> act -> Conv                     one Conv
    x -> Conv -> act -> Conv -> Add(x)      one Conv, the shortcut folded into the kernel
    1x1 -> act -> depthwise -> act -> 1x1   one dense Conv
    Conv -> act -> GlobalAveragePool -> Gemm    GlobalAveragePool, one Gemm

The composite of two 3x3 kernels is 5x5 and costs 1.39 times their multiply-adds, so the new convolution is as a
rule *fitted*: to a kernel of smaller size (3x3 halves the cost), with the composite's centre as the start. The
exact composite is there for those who want it, with the error that padding makes at the border named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxshallow.actions.base import Action, Candidate, FindOptions, Found, Kind, Rewrite, Statistics
from onnxshallow.actions.emission import average_nodes, layer_nodes
from onnxshallow.analysis import (
    Analysis,
    NotLinearError,
    Region,
    Site,
    find_regions,
    linear_map,
    trace_region,
)
from onnxshallow.analysis.border import constant_part
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.convolution import Convolution, output_size, resize_kernel
from onnxshallow.fitting.regression import bytes_needed
from onnxshallow.model.editor import GraphEditor

__all__ = ["Fuse", "Merger"]

# Sizes of fitted kernels that are worth trying.
_SIZES = (1, 3, 5)
# Composites with longer kernels than this are not written, exact or not.
_LARGEST_EXACT = 15


@dataclass(frozen=True, kw_only=True)
class Merger(Candidate):
    """One layer in place of several, and of the activations between them.

    Attributes:
        kernel: spatial shape of its kernel.
    """

    kind: ClassVar[Kind] = "merger"
    kernel: tuple[int, ...]

    @property
    def layers(self) -> int:
        """One."""
        return 1

    @property
    def what(self) -> str:
        """Which layers they were, and how exactly one stands for them."""
        how = {
            "fitted": "fitted to calibration activations",
            "exact": "composed exactly",
            "border": "composed; exact except where padding reaches in from the border",
        }
        one = f"one {_shown(self.kernel, 'x') or 'single'} convolution, {how[self.exactness]}"
        return f"the layers from {self.source!r} to {self.output!r} became {one}"

    @property
    def short(self) -> str:
        """The kernel and the exactness."""
        kernel = _shown(self.kernel, "\N{MULTIPLICATION SIGN}")
        layer = f"one {kernel} convolution" if kernel else "one linear layer"
        return f"{layer}, {'exact but for the border' if self.exactness == 'border' else self.exactness}"

    @property
    def label(self) -> str:
        """The kernel; a colon alone where it has no spatial axes."""
        return ":" + _shown(self.kernel, "x")

    @property
    def capacity(self) -> float:
        """Taps of the kernel."""
        return float(np.prod(self.kernel or (1,)))

    def power(self, measured: Candidate) -> float:
        """Damage falls slowly with the number of taps."""
        return 0.4


def _shown(kernel: tuple[int, ...], times: str) -> str:
    return times.join(str(size) for size in kernel)


class Fuse(Action[Merger]):
    """Replaces linear regions by one convolution each."""

    name = "fuse"
    candidate_class = Merger

    def find(self, analysis: Analysis, options: FindOptions) -> Found:
        """Every region, with every kernel size that is worth trying."""
        regions, reasons = find_regions(analysis)
        refusals = dict(reasons)
        candidates = []
        for region in regions:
            try:
                candidates.extend(self._candidates(analysis, region, options))
            except NotLinearError as error:
                for name in region.sites:
                    refusals.setdefault(name, str(error))
        covered = {name for candidate in candidates for name in candidate.sites}
        return Found(tuple(candidates), {n: why for n, why in refusals.items() if n not in covered})

    def _candidates(self, analysis: Analysis, region: Region, options: FindOptions) -> list[Merger]:
        """Raises NotLinearError where no kernel size is possible."""
        sizes = analysis.network.shape(region.source)
        spatial = tuple(size or 0 for size in sizes[2:]) if sizes is not None else ()
        if region.averaged:
            spatial = (1,) * region.shape.rank
        found: list[Merger] = []
        reason = "no kernel size fits"
        exact = options.kernel == "exact"
        if exact and region.averaged and not region.exact:
            raise NotLinearError(
                "the average of a convolution with more than one tap is not exactly one of the average"
            )
        for kernel in _kernels(region.shape, options):
            if exact and max(kernel, default=1) > _LARGEST_EXACT:
                reason = f"the exact composite would have a kernel of {max(kernel)}"
                continue
            shape = resize_kernel(region.shape, kernel)
            if min((*shape.pads_begin, *shape.pads_end), default=0) < 0:
                reason = "the composite crops its input, which ONNX's Conv cannot"
                continue
            weight = (region.out_channels, region.in_channels // region.groups, *kernel)
            if not exact and _fit_memory(weight, region.groups) > options.memory:
                reason = "fitting it would take more memory than --memory allows"
                continue
            found.append(self._candidate(analysis, region, kernel, shape, spatial, exact))
        if not found:
            raise NotLinearError(reason)
        return found

    def _candidate(
        self,
        analysis: Analysis,
        region: Region,
        kernel: tuple[int, ...],
        shape: Convolution,
        spatial: tuple[int, ...],
        exact: bool,
    ) -> Merger:
        weights = region.out_channels * region.in_channels // region.groups * int(np.prod(kernel))
        try:
            macs = weights * int(np.prod(output_size(shape, spatial)))
        except ValueError as error:
            raise NotLinearError(str(error)) from error
        linear = [layer for layer in region.layers if layer.kind != "affine"]
        nodes = [analysis.network.nodes[layer.main] for layer in linear]
        before = sum(layer_macs(analysis.network, node) or 0 for node in nodes)
        sites = [analysis.site_by_name[name] for name in region.sites]
        return Merger(
            action=self.name,
            sites=region.sites,
            source=region.source,
            output=region.output,
            kernel=kernel,
            exactness="fitted" if not exact else "exact" if region.exact else "border",
            relus=sum(site.size or 0 for site in sites),
            macs=before - macs,
            depth=self._path(analysis, region) - 1,
            nodes=frozenset(region.nodes),
        )

    def _path(self, analysis: Analysis, region: Region) -> int:
        """Linear layers on the longest path through a region, all of whose paths begin at its source."""
        source, last = analysis.network.producer(region.source), analysis.network.producer(region.output)
        return (analysis.depths[last.index] if last else 0) - (analysis.depths[source.index] if source else 0)

    def apply(self, editor: GraphEditor, analysis: Analysis, candidate: Merger, statistics: Statistics) -> Rewrite:
        """Replace the region from `candidate.source` to `candidate.output`."""
        region = trace_region(analysis, candidate.source, candidate.output)
        # Earlier edits may have changed the names that sites of equal names go by, but not their order.
        original = dict(zip(region.sites, candidate.sites, strict=False))

        def affine(site: Site) -> tuple[np.ndarray, np.ndarray]:
            found = statistics[original[site.name]]
            return found.scale, found.shift

        composite = linear_map(analysis, region, affine)
        convolution = composite.convolution
        dtype = analysis.layers.dtype(region.layers[-1])
        bias_map = None
        if candidate.exactness != "fitted" and not composite.exact:
            bias_map = self._border(analysis, region, affine)
        elif candidate.exactness == "fitted":
            convolution = resize_kernel(convolution, candidate.kernel)
        source, averages = region.source, []
        if region.averaged:
            averages = average_nodes(
                editor, source, name=f"{region.layers[-1].name}/average", flat=not region.shape.rank
            )
            source = averages[-1].outputs[0].name
        nodes = layer_nodes(
            editor,
            convolution,
            source,
            region.output,
            name=region.layers[-1].name,
            dtype=dtype,
            bias_map=bias_map,
        )
        outputs = [analysis.network.nodes[index].outputs[0] for index in region.nodes]
        editor.replace(outputs, [*averages, *nodes])
        if candidate.exactness == "fitted":
            return Rewrite(fit=(region.output,))
        return Rewrite(frozen=(nodes[0].outputs[0].name, region.output))

    def _border(
        self, analysis: Analysis, region: Region, affine: Callable[[Site], tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray | None:
        """The region's constant part at each pixel; None where the sizes change from run to run."""
        return constant_part(analysis, region, affine) if analysis.network.has_fixed_sizes else None


def _kernels(shape: Convolution, options: FindOptions) -> list[tuple[int, ...]]:
    """Kernel shapes to try for a composite, the smallest first; none larger than the composite's own."""
    full = shape.kernel_shape
    if options.kernel == "exact":
        return [full]
    sizes: Sequence[int] = _SIZES if options.kernel == "auto" else (int(options.kernel),)
    if options.every_size:
        sizes = range(1, max(full, default=1) + 1)
    return list(dict.fromkeys(tuple(min(size, limit) for size in full) for limit in sizes))


def _fit_memory(weight: tuple[int, ...], groups: int) -> int:
    unknowns = int(np.prod(weight[1:]))
    return bytes_needed(unknowns, weight[0] // groups, groups)
