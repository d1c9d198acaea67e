"""What the tests of mergers share: networks, and what is found of them."""

import numpy as np

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.fuse import Fuse
from onnxshallow.analysis import analyze
from tests.networks import applied, build, chain, feeds_of, run_exactly, some_statistics, with_affine


def find(model, kernel="auto", shapes=None, **options):
    return Fuse().find(analyze(model, shapes), FindOptions(kernel, **options))


def keys(found):
    return [candidate.key for candidate in found.candidates]


def exact(model, output, source=None, shapes=None):
    """The candidate that composes exactly up to `output`."""
    (candidate,) = (
        c for c in find(model, "exact", shapes).candidates if c.output == output and source in (None, c.source)
    )
    return candidate


def fused_and_linearized(model, candidate, shapes=None, samples=3):
    """The fused model, its outputs, and the outputs of the model whose activations alone were replaced."""
    statistics = some_statistics(analyze(model, shapes))
    feeds = feeds_of(model, samples)
    fused = applied(model, [candidate], statistics, shapes)
    wanted = with_affine(model, {name: statistics[name] for name in candidate.sites}, shapes)
    return fused, run_exactly(fused, feeds)[0], run_exactly(wanted, feeds)[0]


INVERTED = """(float[N,4,6,6] x) => (float[N,4,6,6] y) {
    a = Conv(x, w1, b1)
    c1 = Clip(a, zero, six)
    d = Conv<group=8, pads=[1,1,1,1]>(c1, w2, b2)
    c2 = Clip(d, zero, six)
    y = Conv(c2, w3, b3)
}"""


INVERTED_WEIGHTS = {
    "w1": (8, 4, 1, 1),
    "b1": (8,),
    "w2": (8, 1, 3, 3),
    "b2": (8,),
    "w3": (4, 8, 1, 1),
    "b3": (4,),
    "zero": np.float32(0),
    "six": np.float32(6),
}


def inverted(**changes):
    return build(INVERTED, **{**INVERTED_WEIGHTS, **changes})


def narrow():
    """A chain whose 1x1 and 3x3 fits save multiply-adds and whose 5x5 fit costs some."""
    return chain(w1=(4, 3, 3, 3), b1=(4,), w2=(4, 4, 3, 3))
