import numpy as np

from onnxshallow.analysis import find_sites
from onnxshallow.model.network import Network
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.model.spelling.casts import constant_casts
from tests.graphs import assert_same_function, parse


def test_bounds_cast_to_the_type_of_an_activation_are_constants():
    text = "(float[N,3,4,4] x) => (float[N,3,4,4] y) { low = CastLike(zero, x) y = Clip(x, low) }"
    model = parse(text, zero=np.array(0))
    made = plainly_spelled(model)
    (site,) = find_sites(Network(made.model))
    assert (site.kind, site.refusal) == ("relu", None)
    assert_same_function(made.model, model)
    assert made.restored(made.model) == model


def test_activations_that_are_cast_stay():
    text = "(float[N,3] x, float16[N,3] z) => (float16[N,3] y) { y = CastLike(x, z) }"
    assert constant_casts(Network(parse(text))) == []
