"""What must hold for every model: round trips, plain rewrites, single candidates and their fits.

Each check raises an AssertionError that says which candidate is concerned and what is wrong.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxshallow.actions.apply import Rewritten, apply_candidates
from onnxshallow.actions.base import Candidate, FindOptions, Statistics
from onnxshallow.actions.registry import actions
from onnxshallow.analysis import Analysis, Layers, Site, analyze, trace_region
from onnxshallow.analysis.narrowing import find_narrowable
from onnxshallow.fitting.parabolas import trusted
from onnxshallow.model.document import load_document, save_model
from onnxshallow.model.editor import GraphEditor
from onnxshallow.model.network import Network
from onnxshallow.rewriting.lowering.lower import lower
from tests.graphs import frozen, plain
from tests.networks import some_statistics
from tests.partials import with_partial
from tests.properties.cases import Case, Counts, assert_close, assert_usable, assert_valid, count_relus, with_outputs
from tests.properties.engines import Array

__all__ = ["check_candidates", "check_normalized", "check_round_trip", "check_sites", "find_all", "linearized"]

# Candidates of a model that are checked, at most: so many of each action, drawn.
_MOST = 4


def check_round_trip(case: Case, folder: Path) -> None:
    """A model survives loading, saving with its tensors inside or beside it, and the editor."""
    source = folder / "source.onnx"
    onnx.save(case.model, source)
    document = load_document(source)
    assert frozen(document.model) == frozen(case.model), "loading changes the model"
    save_model(document.model, folder / "inline.onnx")
    assert (folder / "inline.onnx").read_bytes() == frozen(case.model), "saving changes the model"
    save_model(document.model, folder / "external.onnx", external=True)
    again = load_document(folder / "external.onnx").model
    for tensor in again.graph.initializer:
        tensor.ClearField("data_location")  # says that the data is inside, which is the default
    assert frozen(again) == frozen(case.model), "saving with external data changes the model"
    assert frozen(GraphEditor(case.model).finish()) == frozen(case.model), "the editor changes the model"


def check_normalized(case: Case) -> None:
    """Every layer, written as one plain node, computes what it did."""
    before = frozen(case.model)
    rewritten = plain(case.model)
    assert frozen(case.model) == before, "the original was changed"
    _assert_same(case, rewritten, case.model, "the plain model")
    network = case.analysis.network
    alive = {name for index in network.ancestors(network.output_names) for name in network.nodes[index].outputs}
    outputs = {layer.output for layer in Layers(Network(case.model))} & alive
    again = {layer.output for layer in Layers(Network(rewritten))} & alive
    assert again <= outputs, f"layers {sorted(again - outputs)} appear"  # two that only scale may become one


def check_sites(case: Case, counts: Counts) -> None:
    """The ReLU count is what running the model shows."""
    relus = count_relus(case, case.model)
    counted = sum(site.size or 0 for site in case.analysis.sites if site.node >= 0)  # but those in branches
    assert counted == relus, f"analysis counts {counted} ReLUs of {relus}"
    counts["sites"] += len(case.analysis.sites)
    counts["sites that cannot be removed"] += sum(site.refusal is not None for site in case.analysis.sites)


def find_all(analysis: Analysis) -> list[Candidate]:
    """Every candidate with every kernel size, exactness, and number of channels or elements that are kept."""
    every = FindOptions(deeper=True, narrower=True, every_size=True, polynomials=True)
    options = [FindOptions("exact"), *(replace(every, granularity=name) for name in ("layer", "channel", "pixel"))]
    found = {c.key: c for option in options for action in actions() for c in action.find(analysis, option).candidates}
    return list(found.values())


def check_candidates(case: Case, random: random.Random, counts: Counts) -> None:
    """Every action does to a model what it says, alone and together with others."""
    candidates = find_all(case.analysis)
    statistics = with_some_orders(case.analysis, some_statistics(case.analysis))
    exact: list[Candidate] = []
    for kind in sorted({_kind(c) for c in candidates}):
        of_kind = [c for c in candidates if _kind(c) == kind]
        for candidate in random.sample(of_kind, min(len(of_kind), _MOST)):
            check_candidate(case, candidate, statistics, counts)
            if candidate.exactness == "exact" or candidate.action == "linearize":
                exact.append(candidate)
    chosen = disjoint(random.sample(exact, len(exact)))
    if len(chosen) > 1:
        rewritten = apply_candidates(case.analysis, chosen, statistics)
        maps = _affine_maps(chosen, rewritten, statistics)
        _assert_same(case, rewritten.model, linearized(case, _sites(chosen), maps), listed(chosen))
        counts["candidates applied together"] += len(chosen)


def _kind(candidate: Candidate) -> tuple[str, str, bool]:
    return candidate.action, candidate.exactness, candidate.by_element


def disjoint(candidates: Collection[Candidate]) -> list[Candidate]:
    """The first of the candidates that exclude each other, as a plan may hold no two of them."""
    chosen: list[Candidate] = []
    for candidate in candidates:
        if not any(candidate.excludes(other) or candidate.place == other.place for other in chosen):
            chosen.append(candidate)
    return chosen


def listed(candidates: Collection[Candidate]) -> str:
    """The keys of candidates, for messages."""
    return ", ".join(candidate.key for candidate in candidates)


def _sites(candidates: Collection[Candidate]) -> set[str]:
    return {name for candidate in candidates for name in candidate.sites}


def check_candidate(case: Case, candidate: Candidate, statistics: Statistics, counts: Counts) -> None:
    """One candidate, applied and not fitted.

    Exact ones compute what the model computes whose sites alone are replaced by affine maps, or in part by
    polynomials; those that are wrong at the border do so inside; for fitted ones of a smaller kernel or rank only the
    shape is certain.
    """
    counts[f"{candidate.action}, {candidate.exactness}"] += 1
    before = frozen(case.model)
    rewritten = apply_candidates(case.analysis, [candidate], statistics)
    assert frozen(case.model) == before, f"{candidate.key} changed the original"
    if rewritten.dead:
        _check_narrower(case, candidate, rewritten)
        return
    assert_unchanged(case, rewritten.model, [candidate], candidate.key)
    if candidate.action == "linearize":
        maps = _affine_maps([candidate], rewritten, statistics)
        _assert_same(case, rewritten.model, linearized(case, candidate.sites, maps), candidate.key)
    elif candidate.exactness == "exact":
        _assert_same(case, rewritten.model, linearized(case, candidate.sites, statistics), candidate.key)
    elif rewritten.partials:
        _assert_same(case, rewritten.model, _partly(case, candidate, rewritten, statistics), candidate.key)
        lowered = lower(rewritten.analysis, rewritten.partials, "split")
        _assert_same(case, lowered, rewritten.model, f"{candidate.key}, lowered")
        left = case.analysis.cost.relus - candidate.relus
        assert count_relus(case, lowered) <= left, f"{candidate.key} leaves more than {left} ReLUs"
    else:
        assert_usable(case, rewritten.model, candidate.key)
        alive = candidate.output in {name for node in rewritten.model.graph.node for name in node.output}
        if alive and candidate.action == "fuse" and _has_an_interior(case, candidate):
            _check_interior(case, candidate, rewritten.model, statistics, counts)


def with_some_orders(analysis: Analysis, statistics: Statistics) -> Statistics:
    """The statistics with made-up orders of the channels of streams."""
    numbers, found = np.random.default_rng(3), dict(statistics)
    for place in find_narrowable(analysis)[0]:
        order = numbers.permutation(place.stream.channels)
        found |= {site.name: replace(found[site.name], order=order) for site in place.sites if site.name in found}
    return found


def _check_narrower(case: Case, candidate: Candidate, rewritten: Rewritten) -> None:
    """Channels of zeros can be left out without a change, and that saves what was promised, or more."""
    lowered = lower(rewritten.analysis, [], "split", rewritten.dead)
    _assert_same(case, lowered, rewritten.model, f"{candidate.key}, lowered")
    before, after = case.analysis.cost, analyze(lowered, case.input_shapes).cost
    for name in ("macs", "relus"):
        saved, promised = getattr(before, name) - getattr(after, name), getattr(candidate, name)
        assert saved >= promised, f"{candidate.key} saves {saved} {name} of the {promised} that it promised"


def _partly(case: Case, candidate: Candidate, rewritten: Rewritten, statistics: Statistics) -> onnx.ModelProto:
    """The model with one site that activates some of its elements, and makes of the others what statistics say."""
    (partial,) = rewritten.partials
    found = statistics[candidate.sites[0]]
    found = found.pixels if candidate.by_element and found.pixels is not None else found
    assert np.count_nonzero(partial.kept) == candidate.kept, f"{candidate.key} keeps {np.count_nonzero(partial.kept)}"
    bends = partial.squared
    assert not np.any(bends & (~trusted(found) | (candidate.action == "mask"))), f"{candidate.key} squares too much"
    values = {
        "square": np.where(bends, found.parabola.square, 0.0),
        "linear": np.where(bends, found.parabola.linear, found.scale),
        "constant": np.where(bends, found.parabola.constant, found.shift),
    }
    network = rewritten.analysis.network
    maker = network.producer(partial.source)
    computed = [name for name in maker.inputs if not network.is_constant(name)] if maker else []
    if maker is not None and maker.is_op("Add", "Sum") and len(computed) > 1:  # until a fit
        values["linear"] = np.where(partial.passed, 1.0, values["linear"])
        values["constant"] = np.where(partial.passed, 0.0, values["constant"])
    return with_partial(case.model, case.analysis.site_by_name[candidate.sites[0]], partial.kept, **values)


def _affine_maps(candidates: Collection[Candidate], rewritten: Rewritten, statistics: Statistics) -> Statistics:
    """The maps that took the place of sites: none for one whose sum now makes its output, until a fit."""
    network = rewritten.analysis.network
    passed: set[str] = set()
    next_output = {candidate.source: candidate.output for candidate in candidates}
    for candidate in (c for c in candidates if c.action == "linearize"):
        output = candidate.output
        while network.producer(output) is None and output in next_output:  # the next site went too, and gave its name
            output = next_output[output]
        maker = network.producer(output)
        if maker is not None and maker.is_op("Add", "Sum") and not any(map(network.is_constant, maker.inputs)):
            passed.update(candidate.sites)
    return {name: affine for name, affine in statistics.items() if name not in passed}


def _has_an_interior(case: Case, candidate: Candidate) -> bool:
    """Whether a merger is the composite somewhere: no kernel is cut, and no average taken over a border."""
    region = trace_region(case.analysis, candidate.source, candidate.output)
    return candidate.kernel == region.shape.kernel_shape and (region.exact or not region.averaged)


def _assert_same(case: Case, rewritten: onnx.ModelProto, expected: onnx.ModelProto, what: str) -> None:
    """Fail unless a model is valid and computes, by every engine, what another does."""
    assert_valid(rewritten, case.model)
    truth = case.outputs if expected is case.model else case.run(expected)
    for engine in case.engines:
        names = [value.name for value in case.model.graph.output]
        for name, actual, wanted in zip(names, case.run(rewritten, engine), truth, strict=True):
            assert_close(actual, wanted, f"{what}: {name} by {engine}")


def linearized(case: Case, names: Collection[str], statistics: Statistics) -> onnx.ModelProto:
    """The model with some sites replaced by a Mul and an Add, or by an Identity where there is no statistics."""
    sites = {site.output: site for site in case.analysis.sites if site.name in names and site.node >= 0}
    result = onnx.ModelProto()
    result.CopyFrom(case.model)
    del result.graph.node[:]
    for node in case.model.graph.node:
        site = sites.get(node.output[0])
        if site is None:
            result.graph.node.append(node)
        elif site.name in statistics:
            result.graph.node.extend(_affine(site, statistics))
        else:
            result.graph.node.append(helper.make_node("Identity", [site.source], [site.output]))
    return result


def _affine(site: Site, statistics: Statistics) -> list[onnx.NodeProto]:
    names = {part: f"{site.output}//{part}" for part in ("scale", "shift", "inner")}
    shape = (1, -1, *(1,) * site.rank)
    assert site.dtype is not None
    values = {
        part: getattr(statistics[site.name], part).astype(site.dtype).reshape(shape) for part in ("scale", "shift")
    }
    nodes = [
        helper.make_node("Constant", [], [names[p]], value=numpy_helper.from_array(v)) for p, v in values.items()
    ]
    nodes.append(helper.make_node("Mul", [site.source, names["scale"]], [names["inner"]]))
    return [*nodes, helper.make_node("Add", [names["inner"], names["shift"]], [site.output])]


def _check_interior(
    case: Case, candidate: Candidate, rewritten: onnx.ModelProto, statistics: Statistics, counts: Counts
) -> None:
    """A composite is right wherever its kernel sees no padding."""
    source, output = candidate.source, candidate.output
    names = [output] if source in case.feeds else [output, source]
    expected = dict(
        zip(names, case.run(with_outputs(linearized(case, candidate.sites, statistics), names)), strict=True)
    )
    mask = _interior(rewritten, output, (case.feeds | expected)[source].shape, expected[output].shape)
    counts["composites with an interior"] += bool(mask.any())
    for engine in case.engines:
        (actual,) = case.run(with_outputs(rewritten, [output]), engine)
        if mask.any():
            assert_close(actual[mask], expected[output][mask], f"{candidate.key}: inside of {output} by {engine}")


def _interior(model: onnx.ModelProto, output: str, read: tuple[int, ...], made: tuple[int, ...]) -> Array:
    """Which elements of `output` a kernel makes that lies within its input as a whole."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers[output]
    if node.op_type == "Add" and makers[node.input[0]].op_type == "Conv":  # a bias that varies from pixel to pixel
        node = makers[node.input[0]]
    mask = np.ones(made, dtype=bool)
    if node.op_type != "Conv":  # one that scales channels, or a Gemm: it has no border
        return mask
    values = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    for axis, (kernel, stride, dilation) in enumerate(
        zip(values["kernel_shape"], values["strides"], values["dilations"], strict=True)
    ):
        starts = np.arange(made[axis + 2]) * stride - values["pads"][axis]
        inside = (starts >= 0) & (starts + dilation * (kernel - 1) < read[axis + 2])
        mask &= inside.reshape(-1, *(1,) * (len(made) - axis - 3))
    return mask


def assert_unchanged(
    case: Case, rewritten: onnx.ModelProto, candidates: Collection[Candidate], what: str, *, layers: bool = False
) -> None:
    """Fail unless all nodes and weights that candidates do not name are in the new model, bit by bit, in order.

    Args:
        case: the original.
        rewritten: the new model.
        candidates: what was done to it.
        what: for messages.
        layers: whether all layers may have been fitted anew.
    """
    network = case.analysis.network
    touched = {index for candidate in candidates for index in _touched(case.analysis, candidate)}
    if layers:
        touched |= {index for layer in case.analysis.layers for index in layer.nodes}
    kept = {frozen(node) for node in rewritten.graph.node}
    missing = {node.index for node in network.nodes if frozen(node.proto) not in kept}
    for index in sorted(missing - touched, reverse=True):
        node = network.nodes[index]
        dead = all(
            not network.is_output(name) and all(reader.index in missing for reader in network.consumers(name))
            for name in node.outputs
            if name
        )
        assert dead, f"{what}: {node.op} node {node.name!r} is gone or changed"
    originals = [frozen(node) for node in case.model.graph.node]
    order = [originals.index(frozen(node)) for node in rewritten.graph.node if frozen(node) in originals]
    assert order == sorted(order), f"{what}: nodes changed places"
    before, after = (_weights(model) for model in (case.model, rewritten))
    read = {name for node in rewritten.graph.node for name in node.input}
    for name, content in before.items():
        assert after.get(name, content) == content, f"{what}: weight {name!r} changed"
        assert name in after or name not in read, f"{what}: weight {name!r} is gone, which is still read"


def _weights(model: onnx.ModelProto) -> Mapping[str, bytes]:
    return {tensor.name: frozen(tensor) for tensor in model.graph.initializer}


def _first_layers(analysis: Analysis, tensor: str) -> set[int]:
    """The nodes of the first layers on all ways from a tensor."""
    found: set[int] = set()
    for reader in analysis.network.consumers(tensor):
        layer = analysis.layers.by_node.get(reader.index)
        if layer is not None and layer.kind != "affine":
            found |= set(layer.nodes)
        else:
            found.update(*(_first_layers(analysis, name) for name in reader.outputs))
    return found


def _touched(analysis: Analysis, candidate: Candidate) -> set[int]:
    """Nodes that a candidate may change: its own, and what it is fitted together with.

    A removed activation goes into the layer or the sum before it, and a layer that feeds this sum is fitted. Where
    a sum follows the place, the multiplication on its other side is scaled. After another pooling, layers are fitted.
    """
    network, layers = analysis.network, analysis.layers
    touched = set(candidate.nodes)
    if candidate.action == "pool":
        touched |= _first_layers(analysis, candidate.output)
    tensors = [candidate.source] if len(candidate.sites) == 1 and candidate.kind != "merger" else []
    follower = candidate.output
    while network.is_private(follower):  # what a layer takes in that did not before, as an activation came between
        (reader,) = network.consumers(follower)
        if not reader.is_op("Identity", "Dropout", "BatchNormalization", "Add", "Sub", "Mul", "Div", "Neg"):
            break
        if sum(not network.is_constant(name) for name in reader.inputs if name) > 1:
            break
        touched.add(reader.index)
        follower = reader.outputs[0]
    producer = network.producer(candidate.source) if tensors else None
    if producer is not None and producer.is_op("Add", "Sum"):
        touched.add(producer.index)
        tensors += producer.inputs
    for reader in network.consumers(candidate.output):
        if reader.is_op("Add", "Sum"):
            sides = [layers.by_output.get(name) for name in reader.inputs]
            tensors += [side.output for side in sides if side is not None and side.kind == "affine"]
    for name in tensors:
        layer = layers.by_output.get(name)
        touched |= set(layer.nodes) if layer is not None else set()
    return touched


def reanalyzed(case: Case, model: onnx.ModelProto) -> Analysis:
    """The analysis of a rewritten model."""
    return analyze(model, case.input_shapes)
