import numpy as np
import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.fuse import Merger
from onnxshallow.actions.linearize import Linearize
from onnxshallow.actions.partial import InPart
from onnxshallow.analysis import analyze
from onnxshallow.search.sensitivity.magnitude import magnitude_damages, magnitude_sensitivity
from tests.networks import build

# Ten weights: 4 + 4 + 2. At a density of 0.3 the three largest survive: 9 and 8 of the first, 7 of the second.
TOY = """(float[N,2,4,4] x) => (float[N,1,4,4] y) {
    a = Conv(x, w1)
    r = Relu(a)
    b = Conv(r, w2)
    p = MaxPool<kernel_shape=[1,1]>(b)
    q = Relu(p)
    y = Conv(q, w3)
}"""


def toy():
    kernels = {"w1": [[9, 1], [-8, 1]], "w2": [[1, 7], [2, 3]], "w3": [[1, 2]]}
    return build(TOY, **{n: np.array(v, dtype=np.float32)[..., None, None] for n, v in kernels.items()})


def test_sensitivity_is_the_share_of_the_layers_weights_that_pruning_removes():
    assert magnitude_sensitivity(analyze(toy()), density=0.3) == {"r": 0.5, "q": 0.75}


def test_at_least_one_weight_survives():
    assert magnitude_sensitivity(analyze(toy()), density=0.0) == {"r": 0.75, "q": 1.0}


def test_all_weights_survive_a_density_of_one():
    assert magnitude_sensitivity(analyze(toy()), density=1.0) == {"r": 0.0, "q": 0.0}


def test_a_site_with_no_layer_before_it_is_fully_sensitive():
    model = build("(float[N,2,4,4] x) => (float[N,2,4,4] y) { r = Relu(x) y = Conv(r, w) }", w=(2, 2, 1, 1))
    assert magnitude_sensitivity(analyze(model)) == {"r": 1.0}


def test_a_network_without_weights_is_fully_sensitive():
    model = build("(float[N,2,4,4] x) => (float[N,2,4,4] y) { y = Relu(x) }")
    assert magnitude_sensitivity(analyze(model)) == {"y": 1.0}


def test_damage_is_weighted_by_the_share_of_the_relus():
    analysis = analyze(toy())
    candidates = Linearize().find(analysis, FindOptions()).candidates
    found = magnitude_damages(analysis, candidates)
    sensitivity = magnitude_sensitivity(analysis)
    assert found == pytest.approx({"linearize:a->r": sensitivity["r"] / 2, "linearize:p->q": sensitivity["q"] / 2})


def test_damage_of_several_sites_adds_up():
    analysis = analyze(toy())
    both = Merger("fuse", ("r", "q"), "x", "y", kernel=(3, 3), relus=analysis.cost.relus)
    sensitivity = magnitude_sensitivity(analysis)
    assert magnitude_damages(analysis, [both])[both.key] == pytest.approx((sensitivity["r"] + sensitivity["q"]) / 2)


def test_what_stays_of_a_site_does_no_damage():
    analysis = analyze(toy())
    (whole,) = (c for c in Linearize().find(analysis, FindOptions()).candidates if c.output == "r")
    mask = InPart("mask", whole.sites, whole.source, whole.output, kept=1, relus=whole.relus // 2)
    found = magnitude_damages(analysis, [whole, mask])
    assert found[mask.key] == pytest.approx(found[whole.key] / 2)
