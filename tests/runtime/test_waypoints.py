import numpy as np
import pytest

from onnxshallow.model.network import Network
from onnxshallow.runtime import waypoints as waypoints_module
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.runtime.waypoints import Waypoints, parting
from tests.networks import RESIDUAL_WEIGHTS, residual, run_exactly, signed
from tests.properties.cases import with_outputs

BATCHES = [{"x": signed((4, 3, 8, 8), seed)} for seed in range(3)]


def points(model=None):
    return Waypoints(Network(model or residual()), BATCHES, ActivationStore(1 << 30), 1)


def test_networks_that_are_alike_part_nowhere_but_at_their_outputs():
    assert parting(Network(residual()), Network(residual()), set()) == ["y"]


@pytest.mark.parametrize(
    ("changed", "begin"),
    [({"s"}, ["x"]), ({"h1"}, ["r0"]), ({"h2"}, ["r0", "r1"]), ({"h4"}, ["r2", "r3"]), ({"y"}, ["f"])],
    ids=["at the input", "beside a shortcut", "inside a block", "inside the last block", "at the end"],
)
def test_networks_part_where_a_layer_is_to_be_fitted(changed, begin):
    assert parting(Network(residual()), Network(residual()), changed) == begin


def test_networks_part_where_a_stored_value_differs():
    assert parting(Network(residual()), Network(residual(seed=1)), set()) == ["x"]
    other = build_like_residual(w3=RESIDUAL_WEIGHTS["w3"])
    assert parting(Network(residual()), Network(other), set()) == ["r2"]


def build_like_residual(**changes):
    """The residual network, whose weights called so are others."""
    model, others = residual(), residual(seed=1)
    fresh = {tensor.name: tensor for tensor in others.graph.initializer if tensor.name in changes}
    for tensor in model.graph.initializer:
        if tensor.name in fresh:
            tensor.CopyFrom(fresh[tensor.name])
    return model


def test_values_are_what_the_network_makes():
    found = points().values(["r2", "h3"])
    for number, batch in enumerate(BATCHES):
        for name, value in zip(("r2", "h3"), run_exactly(with_outputs(residual(), ["r2", "h3"]), batch), strict=True):
            np.testing.assert_allclose(found[name][number], value, atol=1e-4)


def test_values_have_the_same_bytes_whatever_was_asked_before():
    alone, after = points(), points()
    for name in ("r0", "h2", "r2"):
        after.values([name])
    for one, other in zip(alone.values(["h4"])["h4"], after.values(["h4"])["h4"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_known_is_not_computed_again():
    found = points()
    first = found.values(["r2"])["r2"]
    found.values(["h3"])
    assert all(one is other for one, other in zip(first, found.values(["r2"])["r2"], strict=True))


def test_there_is_room_for_a_part_only(monkeypatch):
    monkeypatch.setattr(waypoints_module, "MOST_BYTES", 1)
    found = points()
    first = found.values(["r2"])["r2"]
    found.values(["h3"])
    again = found.values(["r2"])["r2"]
    assert first[0] is not again[0]
    np.testing.assert_array_equal(first[0], again[0])


def test_another_network_goes_on_from_there_with_some_of_the_batches():
    rewritten = Network(build_like_residual(w3=RESIDUAL_WEIGHTS["w3"]))
    begin = parting(Network(residual()), rewritten, set())
    (found,) = points().cursor(rewritten, begin, slice(1, 3), goals=None).outputs()
    for value, batch in zip(found, BATCHES[1:], strict=True):
        np.testing.assert_allclose(value, run_exactly(rewritten.model, batch)[0], atol=1e-4)
