"""What the tests of fits share: cursors, targets, and networks of which something was removed or split."""

from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.decompose import Split
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.fitting.targets import find_target
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.store import ActivationStore
from tests.networks import build, some_statistics, statistics_of


def cursor(analysis, batches, goals=()):
    return Cursor.at_inputs(analysis.network, batches, ActivationStore(1 << 30), goals=goals, threads=1)


def layer_of(analysis, output):
    return analysis.layers.by_output[output]


def target_of(model, output, original=None):
    analysis = analyze(model)
    network = analysis.network if original is None else analyze(original).network
    return find_target(network, analysis.network, analysis.layers, layer_of(analysis, output))


def linearized(model, site, calibration):
    """The model's analysis, and the rewritten model with one site linearized."""
    analysis = analyze(model)
    found = Linearize().find(analysis, FindOptions()).candidates
    chosen = [candidate for candidate in found if candidate.output == site]
    return analysis, apply_candidates(analysis, chosen, statistics_of(analysis, calibration))


TWO_BRANCHES = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = Conv<pads=[1,1,1,1]>(x, w2)
    s = Add(a, b)
    y = Relu(s)
}"""


def split_in_two(model, output, rank=3, others=()):
    """The analysis of the model with the layer that makes `output` split, and the outputs of the two."""
    analysis = analyze(model)
    layer = layer_of(analysis, output)
    candidate = Split("decompose", (), layer.source, output, rank=rank, nodes=frozenset(layer.nodes))
    rewritten = apply_candidates(analysis, [candidate, *others], some_statistics(analysis))
    (between,) = (name for name in rewritten.fit if analysis.network.producer(name) is None)
    return rewritten.analysis, between


def target_between(original, rewritten, between):
    layers = rewritten.layers
    return find_target(analyze(original).network, rewritten.network, layers, layers.by_output[between])


def broadcast_sum():
    """A network that adds one value a channel to what a convolution makes."""
    return build(
        """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
            g = GlobalAveragePool(x)
            e = Conv(g, w2)
            k = Conv<pads=[1,1,1,1]>(x, w1)
            s = Add(k, e)
            y = Relu(s)
        }""",
        w1=(4, 3, 3, 3),
        w2=(4, 3, 1, 1),
    )
