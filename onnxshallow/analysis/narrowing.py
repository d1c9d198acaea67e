"""Where channels can be left out: streams whose readers may be made up for what they lose.

Channels of a stream (`onnxshallow.analysis.streams`) can go where what makes them can be written without them, where
nothing on their way makes other numbers of zeros, and where dense layers read them, which can be fitted to what is
left.
A stream is named by the first activation in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnxshallow.analysis.analysis import Analysis
from onnxshallow.analysis.cost import layer_macs
from onnxshallow.analysis.layers import Layer
from onnxshallow.analysis.sites import Site
from onnxshallow.analysis.streams import Stream, adds_channels, find_streams, is_depthwise, joins_channels
from onnxshallow.analysis.zeros import keeps_zero
from onnxshallow.model.network import Node

__all__ = ["FEWEST", "Narrowable", "find_narrowable"]

FEWEST = 2
"""How many channels stay at least: what scales a single one is written as a convolution, which costs more."""


@dataclass(frozen=True, eq=False)
class Narrowable:
    """A stream that channels can be taken out of.

    Attributes:
        stream: the stream.
        sites: the activations in it, in graph order.
        makers: layers that make its channels of others.
        inner: layers that keep its channels apart.
        readers: dense layers that read it.
    """

    stream: Stream
    sites: tuple[Site, ...]
    makers: tuple[Layer, ...]
    inner: tuple[Layer, ...]
    readers: tuple[Layer, ...]

    @property
    def source(self) -> str:
        """The tensor that its first maker reads."""
        return self.makers[0].source

    @property
    def output(self) -> str:
        """The first of its tensors, which no other stream has."""
        return self.makers[0].output


def find_narrowable(analysis: Analysis) -> tuple[tuple[Narrowable, ...], Mapping[str, str]]:
    """The streams that channels can be taken out of, and for each site in none of them the reason."""
    streams = find_streams(analysis)
    found: list[Narrowable] = []
    reasons: dict[str, str] = {}
    seen: set[Stream] = set()
    for site in analysis.sites:
        stream = streams.get(site.output)
        if stream is None:
            reasons[site.name] = site.refusal or _FIXED
        elif stream not in seen:
            seen.add(stream)
            narrowable = _narrowable(analysis, stream)
            reason = _refusal(analysis, narrowable)
            if reason is None:
                found.append(narrowable)
            else:
                reasons.update((other.name, reason) for other in narrowable.sites)
    return tuple(found), reasons


_FIXED = "its channels are those of an input or an output, or what makes or reads them needs all in their order"


def _narrowable(analysis: Analysis, stream: Stream) -> Narrowable:
    names = set(stream.tensors)
    makers = [layer for layer in analysis.layers if layer.output in names and not is_depthwise(analysis, layer)]
    inner = [layer for layer in analysis.layers if layer.output in names and is_depthwise(analysis, layer)]
    readers = [layer for layer in analysis.layers if layer.source in names and not is_depthwise(analysis, layer)]
    sites = [site for site in analysis.sites if site.output in names]
    return Narrowable(stream, tuple(sites), tuple(makers), tuple(inner), tuple(readers))


def _refusal(analysis: Analysis, narrowable: Narrowable) -> str | None:
    """Why no channel of a stream can be left out; None where some can."""
    network = analysis.network
    removable = [site for site in narrowable.sites if site.refusal is None]
    if not removable:
        return narrowable.sites[0].refusal
    if narrowable.stream.channels <= FEWEST:
        return f"it has {narrowable.stream.channels} channels only"
    names = set(narrowable.stream.tensors)
    for node in _nodes(analysis, narrowable):
        if joins_channels(network, node):
            return f"{node.name!r} lays its channels beside others"
        if node.outputs[0] in names and adds_channels(network, node):
            return f"{node.name!r} adds channels to those of another tensor"
        computed = {name for name in node.reads if not network.is_constant(name)}
        if node.outputs[0] in names and node.is_op("Add", "Sub", "Sum") and not names >= computed:
            return f"{node.name!r} adds one channel of another tensor to all of them"
        if node.outputs[0] in names and not keeps_zero(analysis, node):
            return f"{node.name!r} may make other numbers of zeros"
    if not narrowable.makers or not narrowable.readers:
        return "no layer with weights makes its channels, or none reads them"
    layers = (*narrowable.makers, *narrowable.inner, *narrowable.readers)
    if any(layer_macs(network, network.nodes[layer.main]) is None for layer in layers if layer.kind != "affine"):
        return "the sizes of its tensors are not known; say --input-shape"
    return None


def _nodes(analysis: Analysis, narrowable: Narrowable) -> Iterator[Node]:
    """What makes or reads a stream's tensors and belongs to no layer."""
    names = set(narrowable.stream.tensors)
    for node in analysis.network.nodes:
        if node.index not in analysis.layers.by_node and names & {*node.inputs, *node.outputs}:
            yield node
